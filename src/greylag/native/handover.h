/*
 * A client's socket changes hands: from us to the daemon, by SCM_RIGHTS (unix(7)).
 *
 * One record carries the request and the descriptor. Either the daemon acknowledges it and talks to
 * the client, or we do; never both: when we stop waiting, an acknowledgement that is on its way
 * either is there already, or can no longer be sent.
 */
#ifndef GREYLAG_HANDOVER_H
#define GREYLAG_HANDOVER_H

#include "question.h"

#include <netinet/in.h>

#ifndef HANDOVER_PATH
#define HANDOVER_PATH "/run/greylag/handover.sock"
#endif
#define HANDOVER_NAME "handover.sock"

static const char accepted[] = "action=OK\n\n";

/* What the daemon takes: it looks for itself, too. */
static inline bool is_tcp(int descriptor)
{
    int domain = 0, protocol = 0;
    socklen_t size = sizeof domain;

    if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
        return false;
    size = sizeof protocol;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0)
        return false;
    return (domain == AF_INET || domain == AF_INET6) && protocol == IPPROTO_TCP;
}

/* GREYLAG_HANDOVER, or the place beside GREYLAG_SOCKET, or what is compiled in. */
static inline void find_handover(struct sockaddr_un *address)
{
    struct text path = {address->sun_path, sizeof address->sun_path - 1, 0, false};
    const char *named = getenv("GREYLAG_HANDOVER");
    const char *beside = getenv("GREYLAG_SOCKET");
    const char *slash = beside == NULL ? NULL : strrchr(beside, '/');

    _Static_assert(sizeof HANDOVER_PATH <= sizeof address->sun_path, "HANDOVER_PATH is too long");
    if (named != NULL && *named != '\0') {
        add_string(&path, named);
    } else if (slash != NULL) {
        add(&path, beside, (size_t)(slash - beside) + 1);
        add_string(&path, HANDOVER_NAME);
    } else {
        path.cut = true;
    }
    if (path.cut)
        memcpy(address->sun_path, HANDOVER_PATH, sizeof HANDOVER_PATH);
    else
        address->sun_path[path.used] = '\0';
}

/* Nothing is sent where it does not fit as a whole. */
static inline bool send_with(int channel, const struct text *request, int descriptor)
{
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof descriptor)];
    } control = {.bytes = {0}};
    struct iovec text = {.iov_base = request->bytes, .iov_len = request->used};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
    struct cmsghdr *header;

    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    return sendmsg(channel, &message, MSG_NOSIGNAL) == (ssize_t)request->used;
}

static inline bool is_acknowledged(int channel)
{
    char bytes[sizeof accepted] = {0};
    ssize_t count = recv(channel, bytes, sizeof bytes, MSG_DONTWAIT);

    return count == (ssize_t)strlen(accepted) && memcmp(bytes, accepted, strlen(accepted)) == 0;
}

/* True if the client is the daemon's from now on. */
static inline bool hand_over(const struct text *request, int descriptor, int64_t deadline)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int channel = unix_socket(SOCK_SEQPACKET);

    if (channel < 0)
        return false;
    find_handover(&address);
    if (connect_to_daemon(channel, &address, deadline) != ANSWERED
        || !send_with(channel, request, descriptor))
        return false;
    if (!wait_for(channel, POLLIN, deadline))
        (void)shutdown(channel, SHUT_RD); /* from here on it cannot be acknowledged */
    return is_acknowledged(channel);
}

#endif
