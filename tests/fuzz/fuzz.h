/*
 * fuzz - what the fuzz targets share. A target is one function that gets bytes from a stranger and calls the product with them;
 * what the product promises about any such bytes stands there as PROMISE. Each target is linked in two ways: with
 * libFuzzer, which makes up the bytes (make fuzz), and with replay.c, which takes them from corpus/TARGET (make check-fuzz).
 *
 * Inputs are lines of text as far as possible, so that people can write and read them.
 */
#ifndef ATSYNC_TESTS_FUZZ_FUZZ_H
#define ATSYNC_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "lib/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process, which is what libFuzzer and replay.c wait for. */
#define PROMISE(holds, ...)                                                                                            \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            (void)fprintf(stderr, "%s:%d: a promise is broken: ", __FILE__, __LINE__);                                 \
            (void)fprintf(stderr, __VA_ARGS__);                                                                        \
            (void)fputc('\n', stderr);                                                                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

struct fuzz_input {
    const char *at;
    size_t left;
};

/* The bytes up to the next end mark, which are taken off the input with it; all that is left if there is none. */
ATS_UNUSED static struct fuzz_input fuzz_take(struct fuzz_input *in, const char *mark)
{
    const char *end = in->left > 0 ? memmem(in->at, in->left, mark, strlen(mark)) : NULL;
    struct fuzz_input taken = {in->at, end != NULL ? (size_t)(end - in->at) : in->left};
    size_t used = taken.left + (end != NULL ? strlen(mark) : 0);

    *in = (struct fuzz_input){used > 0 ? in->at + used : in->at, in->left - used};
    return taken;
}

ATS_UNUSED static char *fuzz_line(struct fuzz_input *in, struct arena *arena)
{
    struct fuzz_input line = fuzz_take(in, "\n");

    return arena_strndup(arena, line.left > 0 ? line.at : "", line.left);
}

ATS_UNUSED static struct json *fuzz_json(const char *text, size_t len)
{
    struct json *j = NULL;

    return json_parse(text, len, &j, NULL) == ST_OK ? j : NULL;
}

/* A value as JSON has it; what is no JSON is a text, in which bytes that are no UTF-8 are "?" (no such text gets this far). */
ATS_UNUSED static struct json *fuzz_value(const char *line)
{
    struct json *j = fuzz_json(line, strlen(line));
    struct buf clean;

    if (j == NULL) {
        buf_init(&clean, 4 * strlen(line) + 1);
        json_plain(line, &clean);
        for (size_t i = 0; !text_is_utf8(buf_text(&clean), clean.len) && i < clean.len; i++)
            clean.data[i] = (unsigned char)clean.data[i] < 0x80 ? clean.data[i] : '?';
        j = json_string(buf_text(&clean));
        buf_free(&clean);
    }
    return j;
}

ATS_UNUSED static void fuzz_same(const struct json *a, const char *text, size_t len, const char *what)
{
    struct json *b = NULL;
    struct errmsg err = {""};

    PROMISE(json_parse(text, len, &b, &err) == ST_OK, "%s cannot be read again: %s: %.*s", what, err.text, (int)len,
            text);
    PROMISE(json_equal(a, b), "%s reads as another value: %.*s", what, (int)len, text);
    json_free(b);
}

#endif
