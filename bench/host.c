/* A small host of qmail-spp plugins, which times each of them as a qmail-smtpd would wait for it.
 *
 * usage: host    (one plugin a line on stdin: PROGRAM SENDER RECIPIENT)
 * Prints for each: the microseconds from before its pipe was made until it was waited for, and the
 * first line that it printed, or "-".
 *
 * It is as small as a qmail-smtpd and starts a plugin in the same way (pipe, fork, execve with stdin
 * closed), because what a start costs depends on the size of the process that forks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void become(char *program, const int ends[2])
{
	char *arguments[] = {program, NULL};
	close(0);
	dup2(ends[1], 1);
	close(ends[0]);
	close(ends[1]);
	execve(program, arguments, environ);
	_exit(120); /* what tells a qmail-spp that it could not be executed */
}

/* Runs a plugin to its end; its output is in `said`, ended by a zero byte. */
static void run(char *program, char *said, size_t size)
{
	int ends[2], status;
	size_t got = 0;
	ssize_t count;
	if (pipe(ends)) die("pipe");
	pid_t pid = fork();
	if (pid < 0) die("fork");
	if (pid == 0) become(program, ends);
	close(ends[1]);
	while (got < size - 1 && (count = read(ends[0], said + got, size - 1 - got)) > 0) got += (size_t)count;
	close(ends[0]);
	said[got] = 0;
	if (waitpid(pid, &status, 0) != pid || status) die(program);
}

int main(void)
{
	char line[4096], said[1024];
	while (fgets(line, sizeof line, stdin)) {
		char *program = strtok(line, " \n"), *sender = strtok(NULL, " \n"), *recipient = strtok(NULL, " \n");
		if (!recipient) die("line");
		if (setenv("SMTPMAILFROM", sender, 1) || setenv("SMTPRCPTTO", recipient, 1)) die("setenv");
		double began = now();
		run(program, said, sizeof said);
		double took = now() - began;
		said[strcspn(said, "\n")] = 0;
		printf("%.1f %s\n", took, *said ? said : "-");
		fflush(stdout);
	}
	return 0;
}
