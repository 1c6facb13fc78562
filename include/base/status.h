/*
 * status - what a fallible function returns, and the sentence for people that goes with it.
 *
 * Not for logging: lower layers fill a struct errmsg and return, the layer that knows what was being done logs once.
 * Not for the outcome of a delivery to an ATS: that has its own, richer enum (domain/outcome.h).
 */
#ifndef ATSYNC_BASE_STATUS_H
#define ATSYNC_BASE_STATUS_H

#include "base/compiler.h"

enum status {
    ST_OK = 0,
    ST_INVALID = -1,     /* the input is wrong; repeating cannot help */
    ST_NOT_FOUND = -2,   /* what was asked for does not exist */
    ST_LIMIT = -3,       /* a stated limit would be exceeded */
    ST_IO = -4,          /* a system call or a peer failed */
    ST_UNAVAILABLE = -5, /* the database or a peer is away; the same call may succeed later */
    ST_UNCERTAIN = -6,   /* sent, but whether it took effect is unknown */
    ST_CONFLICT = -7,    /* somebody else changed it first */
    ST_DENIED = -8,      /* not permitted */
    ST_INTERNAL = -9,    /* a bug of ours */
};

/* One sentence for people: what happened, to what, what to do. Never holds a secret or personal data. */
struct errmsg {
    char text[512];
};

/* Formats into *err (which may be NULL) and returns st, so that a failing function ends in one line. A text that does
 * not fit is cut. */
int err_set(struct errmsg *err, enum status st, const char *fmt, ...) ATS_PRINTF(3, 4);

/* Puts "prefix: " before the text that a lower layer left; returns st. */
int err_prefix(struct errmsg *err, int st, const char *fmt, ...) ATS_PRINTF(3, 4);

/* A static analyzer sees one source file at a time: that the status comes back as it was given is what it has to know of those two. */
#ifdef __clang_analyzer__
void err_said(struct errmsg *err, const char *fmt, ...) ATS_PRINTF(2, 3);
#define err_set(err, st, ...) (err_said(err, __VA_ARGS__), (int)(st))
#define err_prefix(err, st, ...) (err_said(err, __VA_ARGS__), (int)(st))
#endif

/* A constant name for logs and tests ("invalid", "unavailable", …). Never NULL. */
const char *status_name(int st);

#endif
