/*
 * One question to the daemon, over its unix socket.
 */
#ifndef GREYLAG_QUESTION_H
#define GREYLAG_QUESTION_H

#include "plugin.h"

#include <sys/un.h>

#ifndef SOCKET_PATH
#define SOCKET_PATH "/run/greylag/greylag.sock"
#endif

enum {
    RETRY_MS = 10, /* until a daemon whose backlog is full is tried again */
    MAX_REPLY = 500, /* RFC 5321 4.5.3.1.5: 512 with CR LF, and some hosts add a little */
    CODE_LENGTH = 4  /* "451 " */
};

/* How a question to the daemon ended. LATE: the whole time is used up. */
enum outcome { ANSWERED, UNREACHABLE, HUNG_UP, GARBAGE, LATE };

/* False where GREYLAG_SOCKET is too long: the socket compiled in stands in its place. */
static inline bool name_socket(struct sockaddr_un *address)
{
    struct text path = {address->sun_path, sizeof address->sun_path - 1, 0, false};
    const char *named = getenv("GREYLAG_SOCKET");

    _Static_assert(sizeof SOCKET_PATH <= sizeof address->sun_path, "SOCKET_PATH is too long");
    if (named != NULL && *named != '\0') {
        add_string(&path, named);
        if (!path.cut)
            return true;
    }
    memcpy(address->sun_path, SOCKET_PATH, sizeof SOCKET_PATH);
    return !path.cut;
}

static inline void find_socket(struct sockaddr_un *address)
{
    if (!name_socket(address))
        log_line(LEVEL_WARN, "GREYLAG_SOCKET is too long", ": using the socket compiled in");
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

/* Sends what nobody waits for the answer of: at once and in one piece, or not at all. */
static inline void tell_daemon(const struct text *request)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int descriptor = unix_socket(SOCK_STREAM);
    ssize_t sent;

    if (descriptor < 0 || !name_socket(&address))
        return;
    if (connect(descriptor, (const struct sockaddr *)&address, sizeof address) < 0)
        return;
    sent = send(descriptor, request->bytes, request->used, MSG_NOSIGNAL);
    (void)sent; /* a daemon that has only a part of it takes it for none */
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
