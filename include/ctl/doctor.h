/*
 * doctor - what facts mean: findings of atsyncctl doctor, each with what it is, why it matters and what to do.
 *
 * Pure: facts come from store/doctor.h (rows as JSON) and from ctl/doctor.c; times are passed in. Nothing here is an
 * issue of a candidate or an ATS (domain/issue.h): this is about the machine, the database and what will end.
 */
#ifndef ATSYNC_CTL_DOCTOR_H
#define ATSYNC_CTL_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "lib/json.h"
#include "store/doctor.h"

enum severity {
    SEVERITY_INFO,    /* good to know */
    SEVERITY_WARNING, /* will be a problem, or slows things down */
    SEVERITY_ERROR,   /* is a problem */
};
struct diagnosis {
    enum severity severity;
    const char *check; /* "horizon" */
    char *what;        /* a sentence, as are the others; NULL: there is nothing to say */
    char *why;
    char *todo;
};
struct diagnoses {
    struct diagnosis *items;
    size_t count;
};
void diagnose(struct diagnoses *d, enum severity severity, const char *check, char *what, char *why,
              char *todo);                /* the texts are given away */
void diagnoses_sort(struct diagnoses *d); /* the worst first, otherwise as they came */
void diagnoses_clear(struct diagnoses *d);
const char *severity_name(enum severity s);

/* ---- the database: a row, or rows, of store_doctor_ask */
void judge_durability(struct diagnoses *d, const struct json *server);
void judge_server(struct diagnoses *d, const struct json *server); /* encoding, connections, age of transactions */
void judge_autovacuum(struct diagnoses *d, const struct json *server, const struct json *tables);
void judge_horizon(struct diagnoses *d, const struct json *holders);
void judge_bloat(struct diagnoses *d, const struct json *tables, const struct json *indexes);
void judge_indexes(struct diagnoses *d, const struct json *indexes); /* that cannot be used */
void judge_daemons(struct diagnoses *d, const struct json *daemons, const char *own_version);
void judge_tokens(struct diagnoses *d, const struct json *tokens);
/* row: of store_doctor_ask_sources. */
void judge_silence(struct diagnoses *d, const struct json *row);
void judge_sender_clock(struct diagnoses *d, const struct json *row);
/* has_listen: database.listen_conninfo is given; listen: what stands before that one. */
void judge_pooling(struct diagnoses *d, enum pooling pooling, bool has_listen, enum pooling listen);

/* ---- the schema: texts of sql/stmt/schema_catalog.sql */
void judge_schema(struct diagnoses *d, const char *expected, const char *actual);
/* version 0: none. */
void judge_release(struct diagnoses *d, const struct schema_status *status);

/* ---- disk, certificates, tokens */
struct disk {
    const char *path;
    int64_t free_bytes, total_bytes;
};
void judge_disk(struct diagnoses *d, const struct disk *disk, int64_t database_bytes);
/* what: "the certificate of the receiver (/etc/…)". */
void judge_end(struct diagnoses *d, const char *check, const char *what, int64_t ends_us, int64_t now_us,
               const char *why, const char *todo);
/* When a JSON Web Token (RFC 7519) ends; false if it is none, or does not say. */
bool token_end(const char *text, int64_t *ret_us);

/* 5400 -> "1 h 30 min" */
struct span_text {
    char s[48];
};
struct span_text span_text(int64_t seconds);
/* 1610612736 -> "1.5 GiB" */
struct span_text bytes_text(int64_t bytes);

#endif
