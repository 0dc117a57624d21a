/*
 * The one-shot, executed in our place: what it may need, and the time that is left for it.
 */
#ifndef GREYLAG_ONESHOT_H
#define GREYLAG_ONESHOT_H

#include "plugin.h"

#include <sys/resource.h>

/* What limits have to leave to Python: with less than the first it may fail, with less than the
 * second it always does. `softlimit -m` sets all of them, -a, -d and -s one each. */
static const struct {
    int resource;
    rlim_t enough, least;
    const char *is_under, *is_too_low;
} memory_limits[] = {
    {RLIMIT_AS, 60000000, 20000000, "softlimit -m is under 60000000",
     "softlimit -m is too low for the one-shot"},
    {RLIMIT_DATA, 20000000, 8000000, "softlimit -d is under 20000000",
     "softlimit -d is too low for the one-shot"},
    {RLIMIT_STACK, 131072, 131072, "",
     "softlimit -s is too low for the one-shot"},
};

/* A question has one budget from start to end, so the one-shot is told the milliseconds that are
 * left of it. What the environment held under this name before is left out. */
#define BUDGET_VARIABLE "GREYLAG_BUDGET_MS="

enum { MOST_VARIABLES = 2000 };

/* Tells, in the log too, whether the limits leave enough for the one-shot. Python that has too
 * little ends without a word, or by a signal. */
static inline bool has_memory_for_oneshot(const char *consequence)
{
    const char *is_under = NULL;

    for (size_t i = 0; i < COUNT(memory_limits); i++) {
        struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

        (void)getrlimit(memory_limits[i].resource, &limit);
        if (limit.rlim_cur < memory_limits[i].least) { /* no limit is the largest of numbers */
            log_line(LEVEL_ERROR, memory_limits[i].is_too_low, consequence);
            return false;
        }
        if (is_under == NULL && limit.rlim_cur < memory_limits[i].enough)
            is_under = memory_limits[i].is_under;
    }
    if (is_under != NULL)
        log_line(LEVEL_WARN, is_under, ": the one-shot may fail");
    return true;
}

/* Returns only if it could not be done; the environment is then as it was. One that is too large
 * for our table is passed as it is: the one-shot then takes all the time that it ever takes. */
static inline void execute_oneshot(const char *path, char **arguments)
{
    static char *variables[MOST_VARIABLES + 2];
    static char entry[sizeof BUDGET_VARIABLE + MOST_DIGITS];
    struct text text = TEXT_IN(entry);
    int64_t left = ends_at - now_ms();
    char **before = environ;
    size_t count = 0;

    add_string(&text, BUDGET_VARIABLE);
    add_number(&text, left > 0 ? (long)left : 0);
    add(&text, "", 1);
    variables[count++] = entry;
    for (char **variable = before; variable != NULL && *variable != NULL; variable++) {
        if (strncmp(*variable, BUDGET_VARIABLE, strlen(BUDGET_VARIABLE)) == 0)
            continue;
        if (count > MOST_VARIABLES)
            break;
        variables[count++] = *variable;
    }
    if (count <= MOST_VARIABLES)
        environ = variables;
    execute(path, arguments);
    environ = before;
}

#endif
