/*
 * The one-shot, executed in our place: what it may need, and the time that is left for it.
 */
#ifndef GREYLAG_ONESHOT_H
#define GREYLAG_ONESHOT_H

#include "plugin.h"

#include <sys/resource.h>

/* Memory that softlimit has to leave to Python: with less than the first it may fail, with less
 * than the second it always does. */
#define ONESHOT_BYTES 60000000U
#define ONESHOT_LEAST_BYTES 20000000U

/* A question has one budget from start to end, so the one-shot is told the milliseconds that are
 * left of it. What the environment held under this name before is left out. */
#define BUDGET_VARIABLE "GREYLAG_BUDGET_MS="

enum { MOST_VARIABLES = 2000 };

/* Tells, in the log too, whether softlimit leaves enough for the one-shot. Python that has too
 * little ends without a word, or by a signal. */
static inline bool has_memory_for_oneshot(const char *consequence)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

    (void)getrlimit(RLIMIT_AS, &limit);
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= ONESHOT_BYTES)
        return true;
    if (limit.rlim_cur >= ONESHOT_LEAST_BYTES) {
        log_line(LEVEL_WARN, "softlimit -m is under 60000000", ": the one-shot may fail");
        return true;
    }
    log_line(LEVEL_ERROR, "softlimit -m is too low for the one-shot", consequence);
    return false;
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
