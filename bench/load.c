/* Load for policy servers: so many connections, each with one request under way.
 *
 * usage: load PLACE CONNECTIONS REQUESTS DISTINCT [PREFIX]
 * PLACE is HOST:PORT or the path of a unix socket. Requests go through DISTINCT triplets in turn.
 * Prints: requests per second, and the 50th, 99th and 100th percentile of the waiting time in us.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct connection {
	int fd;
	double sent_at;
	size_t got;
	char answer[1024];
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int dial(const char *place)
{
	const char *colon = strrchr(place, ':');
	if (place[0] == '/') {
		struct sockaddr_un to = {.sun_family = AF_UNIX};
		snprintf(to.sun_path, sizeof to.sun_path, "%s", place);
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
		return fd;
	}
	if (!colon) die("place");
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(colon + 1))};
	char host[64];
	snprintf(host, sizeof host, "%.*s", (int)(colon - place), place);
	inet_pton(AF_INET, host, &to.sin_addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
	return fd;
}

/* The attributes that a Postfix 3.7 sends at RCPT, with their usual lengths. */
static void ask(struct connection *c, long number, const char *prefix)
{
	char request[1024];
	int size = snprintf(request, sizeof request,
		"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
		"client_address=10.%ld.%ld.7\nclient_name=mail%ld.example.org\nclient_port=51000\n"
		"reverse_client_name=mail%ld.example.org\nserver_address=192.0.2.1\nserver_port=25\n"
		"helo_name=mail%ld.example.org\nsender=%ssender%ld@example.org\n"
		"recipient=recipient%ld@example.net\nrecipient_count=0\nqueue_id=\n"
		"instance=1a2b.%lx.%lx.0\nsize=12000\netrn_domain=\nstress=\nsasl_method=\n"
		"sasl_username=\nsasl_sender=\nccert_subject=\nccert_issuer=\nccert_fingerprint=\n"
		"ccert_pubkey_fingerprint=\nencryption_protocol=TLSv1.3\n"
		"encryption_cipher=TLS_AES_256_GCM_SHA384\nencryption_keysize=256\npolicy_context=\n\n",
		number / 250 % 250, number % 250, number % 1000, number % 1000, number % 1000, prefix,
		number, number % 5000, number, number);
	c->sent_at = now();
	c->got = 0;
	if (write(c->fd, request, (size_t)size) != size) die("write");
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	if (argc < 5) {
		fprintf(stderr, "usage: load PLACE CONNECTIONS REQUESTS DISTINCT [PREFIX]\n");
		return 2;
	}
	int connections = atoi(argv[2]);
	long requests = atol(argv[3]), distinct = atol(argv[4]), sent = 0, done = 0;
	const char *prefix = argc > 5 ? argv[5] : "";
	struct connection *all = calloc((size_t)connections, sizeof *all);
	double *waits = calloc((size_t)requests, sizeof *waits), began;
	int poll = epoll_create1(0);
	if (!all || !waits || poll < 0) die("start");
	for (int i = 0; i < connections; i++) {
		all[i].fd = dial(argv[1]);
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
		epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
	}
	began = now();
	for (int i = 0; i < connections && sent < requests; i++, sent++) ask(&all[i], sent % distinct, prefix);
	while (done < requests) {
		struct epoll_event events[256];
		int count = epoll_wait(poll, events, 256, 30000);
		if (count <= 0) die("no answer");
		for (int i = 0; i < count; i++) {
			struct connection *c = events[i].data.ptr;
			ssize_t size = read(c->fd, c->answer + c->got, sizeof c->answer - c->got);
			if (size <= 0) die("read");
			c->got += (size_t)size;
			if (c->got < 2 || memcmp(c->answer + c->got - 2, "\n\n", 2)) continue;
			if (memcmp(c->answer, "action=", 7)) die("answer");
			waits[done++] = now() - c->sent_at;
			if (sent < requests) ask(c, sent++ % distinct, prefix);
		}
	}
	double took = now() - began;
	qsort(waits, (size_t)requests, sizeof *waits, by_size);
	printf("%.0f %.0f %.0f %.0f\n", (double)requests / took, waits[requests / 2] * 1e6,
		waits[requests * 99 / 100] * 1e6, waits[requests - 1] * 1e6);
	return 0;
}
