/*
 * What the native plugins share: bounded text, the log, and how they begin and end.
 *
 * Each plugin is started for one recipient, so what counts is how fast it starts and ends: no
 * stdio, no heap, few pages touched. All bytes go through `struct text`, which cannot grow past
 * its buffer. A plugin never ends by a signal nor with the code 120: qmail-spp would refuse the
 * recipient.
 */
#ifndef GREYLAG_PLUGIN_H
#define GREYLAG_PLUGIN_H

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "reasons.h"

#ifndef PLUGIN_NAME
#define PLUGIN_NAME "greylisting"
#endif
#ifndef BUDGET_MS
#define BUDGET_MS 5000 /* from connecting to the answer; qmail-smtpd itself would wait for ever */
#endif

enum {
    LOG_PATIENCE_MS = 200, /* for a line that the log does not take */
    ROUND_MS = 50, /* a write that blocks is interrupted this often */
    MOST_DIGITS = 20,
    DEFAULT_LEVEL = LEVEL_WARN /* without GLLOGLEVEL this is logged, as it always was */
};

extern char **environ;

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* Bytes in a buffer of fixed size. What does not fit is left out, and `cut` says so. */
struct text {
    char *bytes;
    size_t size;
    size_t used;
    bool cut;
};

#define TEXT_IN(buffer) {.bytes = (buffer), .size = sizeof(buffer), .used = 0, .cut = false}

static inline void add(struct text *text, const char *bytes, size_t length)
{
    if (text->cut || length > text->size - text->used) {
        text->cut = true;
        return;
    }
    memcpy(text->bytes + text->used, bytes, length);
    text->used += length;
}

static inline void add_string(struct text *text, const char *string)
{
    add(text, string, strlen(string));
}

static inline void add_number(struct text *text, long number)
{
    char digits[MOST_DIGITS];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0 && at > 0);
    add(text, digits + at, sizeof digits - at);
}

static inline bool is_set(const char *variable)
{
    return getenv(variable) != NULL;
}

static inline bool has_value(const char *variable)
{
    const char *value = getenv(variable);

    return value != NULL && *value != '\0';
}

/* The host closes stdin. A socket must not become a standard descriptor, least of all stdout. */
static inline bool fill_standard_descriptors(void)
{
    for (int standard = 0; standard <= 2; standard++)
        if (fcntl(standard, F_GETFD) < 0 && open("/dev/null", O_RDWR) != standard)
            return false;
    return true;
}

static inline int64_t now_ms(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* True once the descriptor is ready or broken, false when it is not and the time is over. */
static inline bool wait_for(int descriptor, short events, int64_t deadline)
{
    struct pollfd wanted = {.fd = descriptor, .events = events, .revents = 0};

    for (;;) {
        int64_t left = deadline - now_ms();
        int ready = poll(&wanted, 1, left > 0 ? (int)left : 0);

        if (ready > 0)
            return true;
        if (left <= 0 || (ready < 0 && errno != EINTR && errno != EAGAIN))
            return false;
    }
}

/* When everything is to be over: what waits beyond that is dropped. */
static int64_t ends_at;

/* Those who read our output and the log may be gone, files may be limited in size, and a terminal
 * may stop who writes to it in the background (stty tostop): none of it must end or stop us. */
static const int spared[] = {SIGPIPE, SIGXFSZ, SIGTTOU};

/* What these signals did before: a program that we execute must find them so. */
static struct sigaction found[COUNT(spared)];

static inline void begin(void)
{
    struct sigaction ignored = {.sa_handler = SIG_IGN};

    ends_at = now_ms() + BUDGET_MS;
    for (size_t i = 0; i < COUNT(spared); i++)
        (void)sigaction(spared[i], &ignored, &found[i]);
}

/* Executes a program in our place, as if we had never been. Returns only if that failed. */
static inline void execute(const char *path, char **arguments)
{
    for (size_t i = 0; i < COUNT(spared); i++)
        (void)sigaction(spared[i], &found[i], NULL);
    (void)execve(path, arguments, environ);
    int cause = errno;

    for (size_t i = 0; i < COUNT(spared); i++)
        (void)signal(spared[i], SIG_IGN);
    errno = cause;
}

static inline void interrupted(int number)
{
    (void)number; /* all that counts is that write() returns */
}

/* In one piece or not at all: what we write to a pipe is shorter than PIPE_BUF, and nobody is left
 * to tell of a failure.
 *
 * A pipe whose reader has stopped is never ready. One that was ready may be filled by others before
 * it is our turn, so a timer interrupts what blocks after all; it rings until that has happened. */
static inline void put(int descriptor, const struct text *text, int64_t deadline)
{
    struct sigaction ring = {.sa_handler = interrupted}, before_ring; /* no SA_RESTART */
    struct itimerval rings = {{0, ROUND_MS * 1000}, {0, ROUND_MS * 1000}};
    struct itimerval none = {{0, 0}, {0, 0}}, before_timer;
    sigset_t alarm_only, before_mask;
    ssize_t written;

    if (!wait_for(descriptor, POLLOUT, deadline))
        return;
    (void)sigemptyset(&alarm_only);
    (void)sigaddset(&alarm_only, SIGALRM);
    (void)sigaction(SIGALRM, &ring, &before_ring);
    (void)sigprocmask(SIG_UNBLOCK, &alarm_only, &before_mask);
    (void)setitimer(ITIMER_REAL, &rings, &before_timer);
    written = write(descriptor, text->bytes, text->used);
    (void)written;
    (void)setitimer(ITIMER_REAL, &none, NULL);
    (void)sigprocmask(SIG_SETMASK, &before_mask, NULL);
    (void)sigaction(SIGALRM, &before_ring, NULL);
    (void)setitimer(ITIMER_REAL, &before_timer, NULL);
}

/* A log that does not take a line soon does not get it. */
static inline void put_log(const struct text *text)
{
    int64_t patience = now_ms() + LOG_PATIENCE_MS;

    put(STDERR_FILENO, text, patience < ends_at ? patience : ends_at);
}

static inline bool is_logged(int level)
{
    const char *wanted = getenv("GLLOGLEVEL");
    bool is_digit = wanted != NULL && *wanted >= '0' && *wanted <= '9' && wanted[1] == '\0';

    return level <= (is_digit ? *wanted - '0' : DEFAULT_LEVEL);
}

/* Fixed texts alone: no byte from the network or the daemon ever reaches the log. */
static inline void log_line(int level, const char *cause, const char *consequence)
{
    static const char *const names[] = {LEVEL_NAMES};
    char line[256];
    struct text text = TEXT_IN(line);

    if (!is_logged(level))
        return;
    add_string(&text, PLUGIN_NAME ": level=");
    add_string(&text, names[level]);
    if (level == LEVEL_ERROR)
        add_string(&text, " reason=" REASON_STORE_UNAVAILABLE);
    add_string(&text, " error=\"");
    add_string(&text, cause);
    add_string(&text, consequence);
    add_string(&text, "\"\n");
    put_log(&text);
}

#endif
