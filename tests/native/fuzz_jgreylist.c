/*
 * Fuzzes what jgreylist makes of the bytes of others: a response that becomes an answer and then a
 * request to hold a conversation, and an environment that becomes a question. The first byte of an
 * input chooses: 'R' and a response, or 'Q' and variables with '|' between them. What must hold is
 * asserted by `must`; the sanitizers watch the rest.
 *
 * With -DREPLAY it is a plain program that goes through the files named on its command line.
 */
#define main jgreylist_main
#include "jgreylist.c"
#undef main

#include "fuzz.h"

/* A response that is believed is one reply line or a pass, and its reason is a word. */
static void fuzz_response(const char *data, size_t size)
{
    struct text response = TEXT_IN(buffers.response);
    struct text request = TEXT_IN(buffers.request);
    struct answer answer = {0};
    size_t lines = 4; /* request, protocol_state, greylag_client, greylag_reply */

    if (size > sizeof buffers.response)
        size = sizeof buffers.response;
    add(&response, data, size);
    if (!is_complete(&response) || !read_response(&response, &answer))
        return;
    must(answer.reason_length > 0 && answer.reason_length <= MAX_SHOWN);
    for (size_t i = 0; i < answer.reason_length; i++)
        must(answer.reason[i] == '-' || (answer.reason[i] >= 'a' && answer.reason[i] <= 'z'));
    if (is_pass(&answer))
        return;
    must(answer.action_length <= MAX_REPLY);
    must(*answer.action == '4' || *answer.action == '5');
    must(build_opening(&request, &answer));
    for (size_t i = 0; i < COUNT(told); i++)
        lines += is_set(told[i].variable);
    must(count_of(&request, '\n') == lines + 1);
}

/* However the variables look, a question has one line for each attribute, and one end. */
static void fuzz_question(const char *data, size_t size)
{
    struct text request = TEXT_IN(buffers.request);
    size_t lines = 4; /* request, protocol_state, greylag_client, the empty one */

    if (size > MAX_INPUT)
        return;
    environ = variables_of(data, size);
    for (size_t i = 0; i < COUNT(asked); i++)
        lines += is_set(asked[i].variable);
    if (!build_question(&request))
        return;
    must(request.used <= MAX_REQUEST && count_of(&request, '\n') == lines);
    must(count_of(&request, '\0') == 0);
    must(is_complete(&request) && count_of(&request, '\n') == lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char **own = environ;

    if (size > 0 && data[0] == 'R')
        fuzz_response((const char *)data + 1, size - 1);
    else if (size > 0 && data[0] == 'Q')
        fuzz_question((const char *)data + 1, size - 1);
    environ = own;
    return 0;
}
