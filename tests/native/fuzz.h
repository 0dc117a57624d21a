/*
 * What the fuzz targets share: `must`, an environment out of an input, and a main() that goes
 * through files where there is no libFuzzer (-DREPLAY).
 */
#ifndef GREYLAG_FUZZ_H
#define GREYLAG_FUZZ_H

#define must(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

enum { MAX_VARIABLES = 64, MAX_INPUT = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline size_t count_of(const struct text *text, char wanted)
{
    size_t count = 0;

    for (size_t i = 0; i < text->used; i++)
        count += text->bytes[i] == wanted;
    return count;
}

/* The variables of an input, which has '|' between them. */
static inline char **variables_of(const char *data, size_t size)
{
    static char copy[MAX_INPUT + 1];
    static char *variables[MAX_VARIABLES + 1];
    size_t count = 0;

    must(size <= MAX_INPUT);
    memcpy(copy, data, size);
    copy[size] = '\0';
    for (char *next = copy; next != NULL && count < MAX_VARIABLES; count++) {
        variables[count] = next;
        next = strchr(next, '|');
        if (next != NULL)
            *next++ = '\0';
    }
    variables[count] = NULL;
    return variables;
}

#ifdef REPLAY
int main(int argc, char **argv)
{
    static uint8_t bytes[MAX_INPUT];

    for (int i = 1; i < argc; i++) {
        int file = open(argv[i], O_RDONLY);
        ssize_t count = file < 0 ? -1 : read(file, bytes, sizeof bytes);

        if (count >= 0)
            (void)LLVMFuzzerTestOneInput(bytes, (size_t)count);
        if (file >= 0)
            (void)close(file);
    }
    return 0;
}
#endif

#endif
