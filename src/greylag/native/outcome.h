/*
 * What jgreylist logs: the lines of the old program, which admins' filters know.
 */
#ifndef GREYLAG_FATE_H
#define GREYLAG_FATE_H

#include "plugin.h"

enum { MAX_SHOWN = 64 /* bytes of an address or a reason */ };

/* What the log says for a reason; any other is said as it is. */
static const struct {
    const char *reason, *outcome;
} outcomes[] = {OUTCOMES};

/* A number as atoi() reads it, as far as it goes: is it another than 0? Unset or empty: yes. */
static inline bool is_on(const char *variable)
{
    const char *value = getenv(variable);

    if (value == NULL || *value == '\0')
        return true;
    while (*value == ' ' || (*value >= '\t' && *value <= '\r'))
        value++;
    if (*value == '-' || *value == '+')
        value++;
    while (*value == '0')
        value++;
    return *value >= '1' && *value <= '9';
}

static inline void add_prefix(struct text *line)
{
    if (is_on("JGREYLIST_LOG_PID")) {
        add_string(line, "greylist[");
        add_number(line, (long)getpid());
        add_string(line, "]: ");
    } else {
        add_string(line, "jgreylist: ");
    }
}

/* The address comes from the network's side: printable ASCII of it, and not more than an address
 * can be. */
static inline void add_visible(struct text *line, const char *string)
{
    for (size_t i = 0; string[i] != '\0' && i < MAX_SHOWN; i++)
        add(line, string[i] > 0x20 && string[i] < 0x7f ? string + i : "?", 1);
}

/* "IP: OK known", as the old program says it. */
static inline void log_outcome(const char *reason, size_t length, bool is_let_in)
{
    char bytes[256];
    struct text line = TEXT_IN(bytes);
    const char *outcome = NULL;

    if (!is_on("JGREYLIST_LOG"))
        return;
    for (size_t i = 0; i < COUNT(outcomes) && outcome == NULL; i++)
        if (strlen(outcomes[i].reason) == length && memcmp(outcomes[i].reason, reason, length) == 0)
            outcome = outcomes[i].outcome;
    add_prefix(&line);
    add_visible(&line, getenv("TCPREMOTEIP"));
    add_string(&line, ": ");
    if (outcome == NULL) {
        add_string(&line, is_let_in ? "OK " : "GREY ");
        add(&line, reason, length);
    } else {
        add_string(&line, outcome);
    }
    add_string(&line, "\n");
    put_log(&line);
}

static inline void say(const char *what)
{
    char bytes[256];
    struct text line = TEXT_IN(bytes);

    add_prefix(&line);
    add_string(&line, what);
    add_string(&line, "\n");
    put_log(&line);
}

#endif
