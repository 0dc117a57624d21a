/*
 * What the native plugins share: bounded text, the log, and one question to the daemon.
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
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef PLUGIN_NAME
#define PLUGIN_NAME "greylisting"
#endif
#ifndef SOCKET_PATH
#define SOCKET_PATH "/run/greylag/greylag.sock"
#endif
#ifndef BUDGET_MS
#define BUDGET_MS 5000 /* from connecting to the answer; qmail-smtpd itself would wait for ever */
#endif

enum {
    RETRY_MS = 10, /* until a daemon whose backlog is full is tried again */
    LEVEL_ERROR = 2,
    LEVEL_WARN = 3, /* without GLLOGLEVEL this is logged, as it always was */
    MAX_REPLY = 500, /* RFC 5321 4.5.3.1.5: 512 with CR LF, and some hosts add a little */
    CODE_LENGTH = 4  /* "451 " */
};

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

static inline bool is_set(const char *variable)
{
    return getenv(variable) != NULL;
}

static inline bool has_value(const char *variable)
{
    const char *value = getenv(variable);

    return value != NULL && *value != '\0';
}

/* In one piece or not at all: what we write to a pipe is shorter than PIPE_BUF, and nobody is
 * left to tell of a failure. */
static inline void put(int descriptor, const struct text *text)
{
    if (write(descriptor, text->bytes, text->used) < 0)
        return;
}

/* Those who read our output and the log may be gone. */
static inline void ignore_broken_pipes(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
}

/* The host closes stdin. A socket must not become a standard descriptor, least of all stdout. */
static inline bool fill_standard_descriptors(void)
{
    for (int standard = 0; standard <= 2; standard++)
        if (fcntl(standard, F_GETFD) < 0 && open("/dev/null", O_RDWR) != standard)
            return false;
    return true;
}

static inline bool is_logged(int level)
{
    const char *wanted = getenv("GLLOGLEVEL");
    bool is_digit = wanted != NULL && *wanted >= '0' && *wanted <= '9' && wanted[1] == '\0';

    return level <= (is_digit ? *wanted - '0' : LEVEL_WARN);
}

/* Fixed texts alone: no byte from the network or the daemon ever reaches the log. */
static inline void log_line(int level, const char *cause, const char *consequence)
{
    char line[256];
    struct text text = TEXT_IN(line);

    if (!is_logged(level))
        return;
    add_string(&text, PLUGIN_NAME ": level=");
    add_string(&text, level == LEVEL_WARN ? "warn" : "error reason=store-unavailable");
    add_string(&text, " error=\"");
    add_string(&text, cause);
    add_string(&text, consequence);
    add_string(&text, "\"\n");
    put(STDERR_FILENO, &text);
}

/* How a question to the daemon ended. LATE: the whole time is used up. */
enum outcome { ANSWERED, UNREACHABLE, HUNG_UP, GARBAGE, LATE };

static inline int64_t now_ms(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* True once the descriptor is ready or broken, false when the time is over. */
static inline bool wait_for(int descriptor, short events, int64_t deadline)
{
    struct pollfd wanted = {.fd = descriptor, .events = events, .revents = 0};

    for (;;) {
        int64_t left = deadline - now_ms();
        int ready = left > 0 ? poll(&wanted, 1, (int)left) : 0;

        if (ready > 0)
            return true;
        if (left <= 0 || (ready < 0 && errno != EINTR && errno != EAGAIN))
            return false;
    }
}

static inline void find_socket(struct sockaddr_un *address)
{
    struct text path = {address->sun_path, sizeof address->sun_path - 1, 0, false};
    const char *named = getenv("GREYLAG_SOCKET");

    _Static_assert(sizeof SOCKET_PATH <= sizeof address->sun_path, "SOCKET_PATH is too long");
    if (named != NULL && *named != '\0') {
        add_string(&path, named);
        if (!path.cut)
            return;
        log_line(LEVEL_WARN, "GREYLAG_SOCKET is too long", ": using the socket compiled in");
    }
    memcpy(address->sun_path, SOCKET_PATH, sizeof SOCKET_PATH);
}

/* Never a standard descriptor, which may be closed: what is written there must not go here. */
static inline int unix_socket(int kind)
{
    int low = socket(AF_UNIX, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int descriptor = low;

    if (low >= 0 && low <= STDERR_FILENO) {
        descriptor = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        (void)close(low);
    }
    return descriptor;
}

/* A unix socket connects at once or not at all; EAGAIN means that the backlog is full. */
static inline enum outcome connect_to_daemon(int descriptor, const struct sockaddr_un *address,
                                             int64_t deadline)
{
    while (connect(descriptor, (const struct sockaddr *)address, sizeof *address) < 0) {
        if (errno != EAGAIN && errno != EINTR)
            return UNREACHABLE;
        if (now_ms() >= deadline)
            return LATE;
        (void)poll(NULL, 0, RETRY_MS);
    }
    return ANSWERED;
}

static inline enum outcome send_request(int descriptor, const struct text *request,
                                        int64_t deadline)
{
    size_t sent = 0;

    while (sent < request->used) {
        const char *rest = request->bytes + sent;
        ssize_t count = send(descriptor, rest, request->used - sent, MSG_NOSIGNAL);

        if (count >= 0)
            sent += (size_t)count;
        else if (errno != EAGAIN && errno != EINTR)
            return HUNG_UP;
        else if (!wait_for(descriptor, POLLOUT, deadline))
            return LATE;
    }
    return ANSWERED;
}

/* Cuts the response behind its empty line, if that has come. */
static inline bool is_complete(struct text *response)
{
    for (size_t i = 0; i < response->used; i++)
        if (response->bytes[i] == '\n' && (i == 0 || response->bytes[i - 1] == '\n')) {
            response->used = i + 1;
            return true;
        }
    return false;
}

/* Descriptors that somebody sends along are dropped by the kernel: recv() has no place for them. */
static inline enum outcome receive_response(int descriptor, struct text *response,
                                            int64_t deadline)
{
    while (!is_complete(response)) {
        size_t room = response->size - response->used;
        ssize_t count;

        if (room == 0)
            return GARBAGE;
        if (!wait_for(descriptor, POLLIN, deadline))
            return LATE;
        count = recv(descriptor, response->bytes + response->used, room, 0);
        if (count > 0)
            response->used += (size_t)count;
        else if (count == 0 || (errno != EAGAIN && errno != EINTR))
            return HUNG_UP;
    }
    return ANSWERED;
}

/* An SMTP code of class 4 or 5, a space and a text that cannot begin another command line. */
static inline bool is_reply(const char *reply, size_t length)
{
    if (length <= CODE_LENGTH || length > MAX_REPLY || (reply[0] != '4' && reply[0] != '5')
        || reply[1] < '0' || reply[1] > '9' || reply[2] < '0' || reply[2] > '9'
        || reply[3] != ' ')
        return false;
    for (size_t i = CODE_LENGTH; i < length; i++)
        if (reply[i] < 0x20 || reply[i] > 0x7e)
            return false;
    return true;
}

/* One question. The socket stays open until the process ends or executes. */
static inline enum outcome ask_daemon(const struct text *request, struct text *response,
                                      int64_t deadline)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int descriptor = unix_socket(SOCK_STREAM);
    enum outcome outcome;

    if (descriptor < 0)
        return UNREACHABLE;
    find_socket(&address);
    outcome = connect_to_daemon(descriptor, &address, deadline);
    if (outcome == ANSWERED)
        outcome = send_request(descriptor, request, deadline);
    if (outcome == ANSWERED)
        outcome = receive_response(descriptor, response, deadline);
    return outcome;
}

#endif
