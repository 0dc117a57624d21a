/*
 * ifauthskip (also skipifauth): a plugin for [rcpt], placed before greylisting. For a client that
 * has logged in it prints `N`: accept this recipient, run no further plugin for it.
 */
#include "plugin.h"

int main(void)
{
    static char accept[] = "N\n";
    const struct text command = {.bytes = accept, .size = sizeof accept, .used = 2, .cut = false};

    if (has_value("SMTPAUTHUSER")) {
        begin();
        put(STDOUT_FILENO, &command, ends_at);
    }
    _exit(0);
}
