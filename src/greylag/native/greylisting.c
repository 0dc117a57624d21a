/*
 * greylisting: the qmail-spp plugin for [rcpt] that asks the greylag daemon.
 *
 * The environment becomes one request of Postfix's policy protocol, the response becomes one
 * command line or none. What the daemon cannot answer, the one-shot does, executed in our place.
 * When the time for the question is over, the mail is let in. What our own users send is told to
 * the daemon where GREYLAG_LEARN says so, and no answer is waited for. The exit code is always 0,
 * because qmail-spp turns a crash into a refusal.
 */
#include "oneshot.h"
#include "question.h"

#ifndef ONESHOT_PATH
#define ONESHOT_PATH "/var/qmail/plugins/greylisting-oneshot"
#endif
#ifndef FALLBACK
#define FALLBACK 1 /* without an answer: 1 executes the one-shot, 0 lets the mail in */
#endif
#if BUDGET_MS == 5000
#define BUDGET_TEXT "5 s"
#else
#define TEXT_OF(number) #number
#define EXPANDED(number) TEXT_OF(number)
#define BUDGET_TEXT EXPANDED(BUDGET_MS) " ms"
#endif

enum {
    MAX_REQUEST = 16384, /* a dozen values of 899 bytes, the longest that qmail takes, fit in */
    MAX_RESPONSE = 1024
};

/* Together, so that the usual question touches one or two pages. */
static struct {
    char response[MAX_RESPONSE];
    char command[MAX_REPLY + 3]; /* LD before the reply, a newline behind it */
    char request[MAX_REQUEST];
} buffers;

/* These name another configuration than the daemon's. */
static const char *const elsewhere[] = {"GLCONFIGFILE", "GLMYSQLDEFAULTFILE", "GREYLAG_CONFIG"};

/* Nothing else in the environment changes what is asked. */
static const struct {
    const char *variable, *attribute;
    bool is_required;
} attributes[] = {
    {"TCPREMOTEIP", "client_address=", true},
    {"TCPREMOTEHOST", "client_name=", false},
    {"SMTPHELOHOST", "helo_name=", false},
    {"SMTPMAILFROM", "sender=", true},
    {"SMTPRCPTTO", "recipient=", true},
    {NULL, "greylag_client=qmail-spp", false},
    {"SMTPRCPTCOUNT", "greylag_rcptcount=", false},
    {"SMTPRCPTCOUNTALL", "greylag_rcptcountall=", false},
    {"GLBLOCKEXPIRE", "greylag_glblockexpire=", false},
    {"GLRECORDEXPIRE", "greylag_glrecordexpire=", false},
    {"GLRECORDEXPIREGOOD", "greylag_glrecordexpiregood=", false},
    {"GLLOGLEVEL", "greylag_glloglevel=", false},
    {"GLEXPLICIT", "greylag_glexplicit=", false},
    {"RELAYCLIENT", "greylag_relayclient=", false},
    {"SMTPAUTHUSER", "sasl_username=", false},
};

/* Neither the daemon nor the one-shot would do anything for these. */
static bool is_exempt(void)
{
    const char *is_ours = getenv("SMTPRCPTHOSTSOK");

    return !is_set("GREYLISTING") || is_set("RELAYCLIENT") || has_value("SMTPAUTHUSER")
        || (is_ours != NULL && strcmp(is_ours, "0") == 0);
}

/* One of our users writes to somebody, who is to be let in when he answers. */
static bool is_to_be_learned(void)
{
    return is_set("GREYLAG_LEARN") && (is_set("RELAYCLIENT") || has_value("SMTPAUTHUSER"));
}

/* False where the daemon must not be asked: something is missing, is configured elsewhere, does
 * not fit, or holds a line feed, with which a sender could add attributes of his own. */
static bool build_request(struct text *request)
{
    for (size_t i = 0; i < COUNT(elsewhere); i++)
        if (is_set(elsewhere[i]))
            return false;
    add_string(request, "request=smtpd_access_policy\nprotocol_state=RCPT\n");
    for (size_t i = 0; i < COUNT(attributes); i++) {
        const char *variable = attributes[i].variable;
        const char *value = variable == NULL ? "" : getenv(variable);

        if (value == NULL && attributes[i].is_required)
            return false;
        if (value == NULL)
            continue;
        if (strchr(value, '\n') != NULL)
            return false;
        add_string(request, attributes[i].attribute);
        add_string(request, value);
        add_string(request, "\n");
    }
    add_string(request, "\n");
    return !request->cut;
}

static bool begins_with(const char *line, size_t length, const char *name)
{
    return length >= strlen(name) && memcmp(line, name, strlen(name)) == 0;
}

struct answer {
    const char *action; /* what stands behind action= */
    size_t length;
    bool is_at_data;
};

/* Reads a complete response. False for any line that the daemon does not write to us: an answer
 * that we know only half of must not pass for one. */
static bool read_response(const struct text *response, struct answer *answer)
{
    const char *line = response->bytes;
    const char *end = line + response->used - 1; /* where the empty line begins */

    while (line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t length = stop == NULL ? 0 : (size_t)(stop - line);

        if (answer->action == NULL && begins_with(line, length, "action=")) {
            answer->action = line + strlen("action=");
            answer->length = length - strlen("action=");
        } else if (!answer->is_at_data && length == strlen("greylag_at=data")
                   && begins_with(line, length, "greylag_at=data")) {
            answer->is_at_data = true;
        } else {
            return false;
        }
        line += length + 1;
    }
    return answer->action != NULL;
}

/* Tells a header of ours, with which mail that had to wait passes. */
static bool is_header(const char *header, size_t length)
{
    if (!begins_with(header, length, "X-Greylist: ") || length > MAX_REPLY)
        return false;
    for (size_t i = 0; i < length; i++)
        if (header[i] < 0x20 || header[i] > 0x7e)
            return false;
    return true;
}

/* Turns a complete response into one command line, or for DUNNO into nothing; else false. */
static bool write_command(const struct text *response, struct text *command)
{
    static const char prepend[] = "PREPEND ";
    struct answer answer = {NULL, 0, false};

    if (!read_response(response, &answer))
        return false;
    if (answer.length == strlen("DUNNO") && strncasecmp(answer.action, "DUNNO", 5) == 0)
        return true;
    if (begins_with(answer.action, answer.length, prepend)) {
        const char *header = answer.action + strlen(prepend);
        size_t length = answer.length - strlen(prepend);

        if (!is_header(header, length))
            return false;
        add_string(command, "H");
        add(command, header, length);
        add_string(command, "\n");
        return !command->cut;
    }
    if (!is_reply(answer.action, answer.length))
        return false;
    /* LD refuses at the next DATA: call-outs, which stop after RCPT, still succeed. */
    add_string(command, answer.is_at_data && *answer.action == '4' ? "LD" : "E");
    add(command, answer.action, answer.length);
    add_string(command, "\n");
    return !command->cut;
}

/* Returns only if it could not be done. */
static void run_oneshot(const char *own_name, const char *cause)
{
    char path[] = ONESHOT_PATH;
    char *arguments[] = {path, NULL};

    if (own_name != NULL && strcmp(own_name, path) == 0) {
        /* An installation whose one-shot is this very program would go round for ever. */
        log_line(LEVEL_ERROR, "the one-shot is not one", ": letting the mail in");
        return;
    }
    if (cause != NULL)
        log_line(LEVEL_WARN, cause, ": using the one-shot");
    if (!has_memory_for_oneshot(": letting the mail in"))
        return;
    execute_oneshot(path, arguments);
    log_line(LEVEL_ERROR, "the one-shot cannot be run", ": letting the mail in");
}

/* Without a cause nothing is wrong: it is a question for the one-shot. */
static void fall_back(const char *own_name, const char *cause)
{
    if (FALLBACK)
        run_oneshot(own_name, cause);
    else
        log_line(LEVEL_ERROR, cause != NULL ? cause : "the daemon cannot take this question",
                 ": letting the mail in");
}

static void decide(const char *own_name)
{
    static const char *const causes[] = {
        [UNREACHABLE] = "the daemon cannot be reached",
        [HUNG_UP] = "the daemon hung up",
        [GARBAGE] = "the daemon's answer makes no sense",
    };
    struct text request = TEXT_IN(buffers.request);
    struct text response = TEXT_IN(buffers.response);
    struct text command = TEXT_IN(buffers.command);
    enum outcome outcome;

    if (!build_request(&request)) {
        fall_back(own_name, NULL);
        return;
    }
    outcome = ask_daemon(&request, &response, ends_at);
    if (outcome == ANSWERED && !write_command(&response, &command))
        outcome = GARBAGE;
    if (outcome == LATE) /* too late for the one-shot, too */
        log_line(LEVEL_ERROR, "no answer from the daemon within " BUDGET_TEXT, "");
    else if (outcome != ANSWERED)
        fall_back(own_name, causes[outcome]);
    else if (command.used > 0)
        put(STDOUT_FILENO, &command, ends_at);
}

static void teach(void)
{
    struct text request = TEXT_IN(buffers.request);

    if (build_request(&request))
        tell_daemon(&request);
}

int main(int argc, char **argv)
{
    if (is_to_be_learned())
        teach();
    if (is_exempt())
        _exit(0);
    begin();
    if (fill_standard_descriptors())
        decide(argc > 0 ? argv[0] : NULL);
    else
        log_line(LEVEL_ERROR, "/dev/null cannot be opened", ": letting the mail in");
    _exit(0);
}
