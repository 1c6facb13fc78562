/*
 * jqvm - a compiled jq program (the only file that knows libjq; 1.6 and newer).
 *
 * A program can read its input and nothing else: no environment, no other input, no files, no clock, no output but its
 * result. What would give it more (env, $ENV, input, debug, import, now and their like) is refused when it is compiled,
 * with the line; so is a `.jq` in the home directory, which libjq would mix into every program. Compiling costs 15 to
 * 20 ms, running some 20 us: compile once and keep.
 *
 * Not a sandbox against loops: a program that never ends keeps its thread. Not for numbers beyond a double, which
 * jq 1.6 rounds: see json_print_wrapped().
 *
 * Thread: one struct jqvm belongs to one thread (libjq's state is not shared).
 */
#ifndef ATSYNC_LIB_JQVM_H
#define ATSYNC_LIB_JQVM_H

#include <stddef.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/status.h"
#include "lib/json.h"

struct jqvm;

/*
 * name: file name for messages. A leading `module {…};` is allowed. ST_INVALID with "NAME:LINE: reason" (all that jq
 * says, cut to fit). What the lines of a program mean must not depend on the version of jq: a carriage return alone and
 * a comment that ends in a backslash are refused as well, because versions differ in where the comment ends.
 */
int jqvm_compile(const char *name, const char *program, struct jqvm **ret, struct errmsg *err) ATS_MUSTCHECK;
void jqvm_free(struct jqvm *q); /* NULL is harmless */

/*
 * Runs the program on one JSON text and appends the first output, as JSON text, to out; out is untouched on failure.
 * ST_NOT_FOUND if there is no output (in jq 1.6 also error(null)); ST_INVALID if the input is not one JSON text that
 * this jq can read (256 levels of nesting in 1.6), if the output is nested deeper than jq can print (256), or with jq's
 * own error message (which may quote input: callers must not log it unredacted); ST_LIMIT if out has no room for it.
 * The program can be run again after any of these. Nothing of the input is kept.
 */
int jqvm_run(struct jqvm *q, const char *input, size_t len, struct buf *out, struct errmsg *err) ATS_MUSTCHECK;

/*
 * The same without the way over text, for what runs often: the input is {"fn": function, "ctx": context}, the output a tree (json_free). Numbers that a
 * double cannot hold and strings that are not Unicode travel wrapped (json_wrap), so that what the program only copies arrives unharmed.
 * ST_LIMIT: the output takes more than out_max bytes (json_bytes), or input or output are nested deeper than 255 levels.
 */
int jqvm_call(struct jqvm *q, const char *function, const struct json *context, size_t out_max, struct json **ret,
              struct errmsg *err) ATS_MUSTCHECK;

#endif
