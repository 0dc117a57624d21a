/*
 * jgreylist: decides for each connection, by asking the greylag daemon, what becomes of it.
 *
 *     tcpserver ... jgreylist qmail-smtpd
 *
 * Let in: the program named by our arguments is executed in our place, as if we had never been.
 * Refused: the client's socket is handed to the daemon, which tells the client so, and we end. What
 * the daemon cannot do, the one-shot does, executed in our place. When the time for the question is
 * over, the client is let in.
 */
#define _DEFAULT_SOURCE 1 /* SO_DOMAIN and SO_PROTOCOL of glibc */
#define PLUGIN_NAME "jgreylist"
#include "outcome.h"
#include "handover.h"
#include "oneshot.h"
#include "program.h"

#ifndef JGREYLIST_ONESHOT_PATH
#define JGREYLIST_ONESHOT_PATH "/var/qmail/bin/jgreylist-oneshot"
#endif

enum {
    MAX_REQUEST = 8192, /* what the daemon takes; more is for the one-shot */
    MAX_RESPONSE = 1024,
    ONESHOT_MS = BUDGET_MS / 5, /* left to the one-shot when the daemon does not take the client */
    EXIT_USAGE = 1,
    EXIT_NO_PROGRAM = 111 /* what tcpserver's friends say for a failure that may pass */
};

static struct {
    char response[MAX_RESPONSE];
    char request[MAX_REQUEST];
} buffers;

/* The folder of a record tree, where records are not kept in the daemon's store. The daemon serves
 * those trees that its own settings name, and says so: one that knows nothing of trees would answer
 * from its store. */
#define TREE "JGREYLIST_DIR"
static const char is_served[] = "yes";
static const char not_served[] = "greylag_tree=no\n\n";

struct attribute {
    const char *variable, *name;
};

/* Nothing else in the environment changes what is asked. */
static const struct attribute asked[] = {
    {"TCPREMOTEIP", "client_address="},
    {"TCPREMOTEHOST", "client_name="},
    {"RELAYCLIENT", "greylag_relayclient="},
    {"JGREYLIST", "greylag_jgreylist="},
    {"JGREYLIST_NOREV", "greylag_norev="},
    {"JGREYLIST_BY_IP", "greylag_byip="},
    {"JGREYLIST_HOLDTIME", "greylag_holdtime="},
    {TREE, "greylag_tree="},
};

/* How the daemon is to hold the conversation. */
static const struct attribute told[] = {
    {"TCPREMOTEIP", "client_address="},
    {"JGREYLIST_TIMEOUT", "greylag_timeout="},
    {"JGREYLIST_LIMIT", "greylag_limit="},
    {"JGREYLIST_LOG", "greylag_log="},
    {"JGREYLIST_LOG_SMTP", "greylag_log_smtp="},
};

/* False for a value that does not fit or holds a line feed: it could add attributes of its own. */
static bool add_attributes(struct text *request, const struct attribute *list, size_t count)
{
    add_string(request, "request=smtpd_access_policy\nprotocol_state=CONNECT\n"
                        "greylag_client=jgreylist\n");
    for (size_t i = 0; i < count; i++) {
        const char *value = getenv(list[i].variable);

        if (value == NULL)
            continue;
        if (strchr(value, '\n') != NULL)
            return false;
        add_string(request, list[i].name);
        add_string(request, value);
        add_string(request, "\n");
    }
    return !request->cut;
}

static bool build_question(struct text *request)
{
    if (is_set("GREYLAG_CONFIG") /* names other settings than the daemon's */
        || (is_set(TREE) && !has_value(TREE)) || !add_attributes(request, asked, COUNT(asked)))
        return false;
    add_string(request, "\n");
    return !request->cut;
}

struct answer {
    const char *action, *reason, *tree;
    size_t action_length, reason_length, tree_length;
};

static bool is_word(const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((word[i] < 'a' || word[i] > 'z') && word[i] != '-')
            return false;
    return length > 0 && length <= MAX_SHOWN;
}

/* If the line begins with a name, what stands behind it. */
static bool value_of(const char *line, size_t length, const char *name, const char **value,
                     size_t *value_length)
{
    size_t skip = strlen(name);

    if (*value != NULL || length < skip || memcmp(line, name, skip) != 0)
        return false;
    *value = line + skip;
    *value_length = length - skip;
    return true;
}

static bool is_pass(const struct answer *answer)
{
    return answer->action_length == strlen("DUNNO")
        && memcmp(answer->action, "DUNNO", strlen("DUNNO")) == 0;
}

/* Whether an answer was given by the records that we asked about, a tree's or the store's. */
static bool is_of_our_records(const struct answer *answer)
{
    if (!is_set(TREE))
        return answer->tree == NULL;
    return answer->tree != NULL && answer->tree_length == strlen(is_served)
        && memcmp(answer->tree, is_served, strlen(is_served)) == 0;
}

/* Reads a complete response; false for any that the daemon would not write to us. */
static bool read_response(const struct text *response, struct answer *answer)
{
    const char *line = response->bytes;
    const char *end = line + response->used - 1; /* where the empty line begins */

    while (line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t length = stop == NULL ? 0 : (size_t)(stop - line);

        if (!value_of(line, length, "action=", &answer->action, &answer->action_length)
            && !value_of(line, length, "greylag_reason=", &answer->reason, &answer->reason_length)
            && !value_of(line, length, "greylag_tree=", &answer->tree, &answer->tree_length))
            return false;
        line += length + 1;
    }
    return answer->action != NULL && answer->reason != NULL && is_of_our_records(answer)
        && is_word(answer->reason, answer->reason_length)
        && (is_pass(answer) || is_reply(answer->action, answer->action_length));
}

static _Noreturn void let_in(char **arguments)
{
    execute_as_named(arguments + 1);
    say("the program cannot be run");
    _exit(EXIT_NO_PROGRAM);
}

/* Without a cause nothing is wrong: it is a question for the one-shot. */
static _Noreturn void run_oneshot(char **arguments, const char *cause)
{
    char path[] = JGREYLIST_ONESHOT_PATH;

    if (strcmp(arguments[0], path) == 0) {
        /* An installation whose one-shot is this very program would go round for ever. */
        log_line(LEVEL_ERROR, "the one-shot is not one", ": letting the client in");
        let_in(arguments);
    }
    if (cause != NULL)
        log_line(LEVEL_WARN, cause, ": using the one-shot");
    if (!has_memory_for_oneshot(": letting the client in"))
        let_in(arguments);
    arguments[0] = path;
    execute_oneshot(path, arguments);
    log_line(LEVEL_ERROR, "the one-shot cannot be run", ": letting the client in");
    let_in(arguments);
}

static bool build_opening(struct text *request, const struct answer *answer)
{
    if (!add_attributes(request, told, COUNT(told)))
        return false;
    add_string(request, "greylag_reply=");
    add(request, answer->action, answer->action_length);
    add_string(request, "\n\n");
    return !request->cut;
}

/* Hands the client over, or has the one-shot talk to him. */
static _Noreturn void refuse(char **arguments, const struct answer *answer)
{
    struct text request = TEXT_IN(buffers.request);

    if (!is_tcp(STDIN_FILENO) || !build_opening(&request, answer))
        run_oneshot(arguments, NULL);
    if (!hand_over(&request, STDIN_FILENO, ends_at - ONESHOT_MS))
        run_oneshot(arguments, "the daemon does not take the client");
    log_outcome(answer->reason, answer->reason_length, false);
    _exit(0);
}

static bool is_text(const struct text *text, const char *wanted)
{
    return text->used == strlen(wanted) && memcmp(text->bytes, wanted, text->used) == 0;
}

static _Noreturn void decide(char **arguments)
{
    static const char *const causes[] = {
        [UNREACHABLE] = "the daemon cannot be reached",
        [HUNG_UP] = "the daemon hung up",
        [GARBAGE] = "the daemon's answer makes no sense",
    };
    struct text request = TEXT_IN(buffers.request);
    struct text response = TEXT_IN(buffers.response);
    struct answer answer = {0};
    enum outcome outcome;

    if (!build_question(&request))
        run_oneshot(arguments, NULL);
    outcome = ask_daemon(&request, &response, ends_at);
    if (outcome == ANSWERED && is_text(&response, not_served))
        run_oneshot(arguments, NULL);
    if (outcome == ANSWERED && !read_response(&response, &answer))
        outcome = GARBAGE;
    if (outcome == LATE) { /* too late for the one-shot, too */
        log_line(LEVEL_ERROR, "no answer from the daemon", ": letting the client in");
        let_in(arguments);
    }
    if (outcome != ANSWERED)
        run_oneshot(arguments, causes[outcome]);
    if (!is_pass(&answer))
        refuse(arguments, &answer);
    log_outcome(answer.reason, answer.reason_length, true);
    let_in(arguments);
}

int main(int argc, char **argv)
{
    begin();
    if (argc < 2) {
        say("no command: expected jgreylist PROGRAM [ARGUMENT...]");
        return EXIT_USAGE;
    }
    if (!has_value("TCPREMOTEIP")) {
        say("TCPREMOTEIP is not set: expected to run under tcpserver");
        return EXIT_USAGE;
    }
    if (is_set("JGREYLIST") && !has_value("JGREYLIST")) { /* needs nobody's word */
        log_outcome(REASON_ALLOWLISTED, strlen(REASON_ALLOWLISTED), true);
        let_in(argv);
    }
    decide(argv);
}
