/*
 * The program that jgreylist's command line names, executed as execvp() of glibc would.
 *
 * A static program of musl has no such execvp(): its own runs no script without a first line.
 */
#ifndef GREYLAG_PROGRAM_H
#define GREYLAG_PROGRAM_H

#include "plugin.h"

enum { MAX_PATH = 4096 };

/* What is no program and has no first line that names one is a script of the shell. There must be
 * an argument before the first. Returns only if it could not be done. */
static inline void execute_file(char *path, char **arguments)
{
    char shell[] = "/bin/sh";
    char *name = arguments[0], *ours = arguments[-1];

    execute(path, arguments);
    if (errno != ENOEXEC)
        return;
    arguments[-1] = shell; /* our own name stood there */
    arguments[0] = path;
    execute(shell, arguments - 1);
    arguments[-1] = ours;
    arguments[0] = name;
}

static inline void execute_by_path(char **arguments)
{
    static char candidate[MAX_PATH];
    const char *rest = has_value("PATH") ? getenv("PATH") : "/bin:/usr/bin";

    while (rest != NULL) {
        struct text path = TEXT_IN(candidate);
        const char *stop = strchr(rest, ':');
        size_t length = stop == NULL ? strlen(rest) : (size_t)(stop - rest);

        if (length == 0)
            add_string(&path, ".");
        add(&path, rest, length);
        add_string(&path, "/");
        add_string(&path, arguments[0]);
        add(&path, "", 1);
        if (!path.cut)
            execute_file(candidate, arguments);
        rest = stop == NULL ? NULL : stop + 1;
    }
}

/* Returns only if it could not be done. */
static inline void execute_as_named(char **arguments)
{
    if (strchr(arguments[0], '/') != NULL)
        execute_file(arguments[0], arguments);
    else
        execute_by_path(arguments);
}

#endif
