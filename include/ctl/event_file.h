/*
 * event_file - events out of a file: one or many, as a list, one a line, or simply one behind the other; as they were
 * sent, or wrapped by whoever kept them (a dead-letter queue).
 *
 * A file of any size is read with the memory of its largest event. What is broken is told with its line, and reading
 * goes on at the next line that may begin an event. Knows JSON's brackets only: whether it is an event is seen later.
 * One thread.
 */
#ifndef ATSYNC_CTL_EVENT_FILE_H
#define ATSYNC_CTL_EVENT_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/mem.h"

/* Puts at most room bytes into `into`; 0 is the end, less than 0 a failure that the caller knows. */
typedef ssize_t (*event_file_read)(void *ctx, char *into, size_t room);

struct event_file;
struct event_file *event_file_new(event_file_read read, void *ctx, size_t value_max_bytes);
void event_file_free(struct event_file *f); /* NULL is harmless */

struct event_file_value {
    uint64_t line;    /* where it begins, from 1 */
    const char *text; /* its bytes as they stand in the file; valid until the next call */
    size_t len;
    const char *problem; /* why there is none: a text that lives for ever; NULL: all is well */
};
enum event_file_result { EVENT_FILE_END, EVENT_FILE_VALUE, EVENT_FILE_FAILED };
enum event_file_result event_file_next(struct event_file *f, struct event_file_value *ret);

/*
 * Calls fn with each event in a value: the value itself if it is one, else what it wraps: an object or a text (JSON, or
 * base64 of it) in a member such as payload, body or Message, or lists of them. The bytes are those of the value, or
 * those that the text stands for. Returns how many there were; they live in the arena or in the value.
 */
size_t event_file_unwrap(const char *text, size_t len, struct arena *arena,
                         void (*fn)(void *ctx, const char *body, size_t len), void *ctx);

#endif
