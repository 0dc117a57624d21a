/*
 * Fuzzes the two places where bytes of others become bytes of ours: a response that becomes a
 * command line, and an environment that becomes a request. The first byte of an input chooses:
 * 'R' and a response, or 'Q' and variables with '|' between them. What must hold is asserted by
 * `must`; the sanitizers watch the rest.
 *
 * With -DREPLAY it is a plain program that goes through the files named on its command line.
 */
#define main plugin_main
#include "greylisting.c"
#undef main

#include "fuzz.h"

static bool starts(const char *bytes, size_t length, const char *prefix)
{
    return length >= strlen(prefix) && memcmp(bytes, prefix, strlen(prefix)) == 0;
}

/* Nothing, or one line of printable ASCII that begins with a command we use. */
static void check_command(const struct text *command)
{
    size_t used = command->used;

    must(!command->cut && used <= MAX_REPLY + 3);
    if (used == 0)
        return;
    must(starts(command->bytes, used, "E4") || starts(command->bytes, used, "E5")
         || starts(command->bytes, used, "LD4")
         || starts(command->bytes, used, "HX-Greylist: "));
    must(command->bytes[used - 1] == '\n');
    for (size_t i = 0; i + 1 < used; i++)
        must(command->bytes[i] >= 0x20 && command->bytes[i] <= 0x7e);
}

/* Feeds the response as two pieces, cut where the first byte says, then checks the command. */
static void fuzz_response(const char *data, size_t size)
{
    struct text response = TEXT_IN(buffers.response);
    struct text command = TEXT_IN(buffers.command);
    size_t cut = size > 0 ? (unsigned char)data[0] : 0;
    bool was_complete;

    if (size > sizeof buffers.response)
        size = sizeof buffers.response;
    add(&response, data, cut < size ? cut : size);
    was_complete = is_complete(&response);
    if (!was_complete && cut < size)
        add(&response, data + cut, size - cut);
    if (!is_complete(&response))
        return;
    if (!write_command(&response, &command))
        must(command.used == 0);
    check_command(&command);
}

/* However the variables look, the request has one line for each attribute, and one end. */
static void fuzz_request(const char *data, size_t size)
{
    struct text request = TEXT_IN(buffers.request);
    size_t lines = 4; /* request, protocol_state, greylag_client, the empty one */

    if (size > MAX_INPUT)
        return;
    environ = variables_of(data, size);
    for (size_t i = 0; i < COUNT(attributes); i++)
        lines += attributes[i].variable != NULL && is_set(attributes[i].variable);
    if ((is_exempt() && !is_to_be_learned()) || !build_request(&request))
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
        fuzz_request((const char *)data + 1, size - 1);
    environ = own;
    return 0;
}
