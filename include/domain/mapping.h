/*
 * mapping - what the operator wants done at which moment of a run, as data.
 *
 * Filled by config from the `workflows` section; read by plan. Pure: no YAML here, no connector knowledge (whether a
 * connector can do an action is checked by connector/validate when the configuration is loaded).
 * Ownership: strings and arrays belong to the struct config that holds the mapping. Immutable once loaded, so any
 * thread may read.
 */
#ifndef ATSYNC_DOMAIN_MAPPING_H
#define ATSYNC_DOMAIN_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/status.h"

/* The moments of a run in their order; the terminal ones exclude each other. */
enum moment {
    MOMENT_CONTACT_RESOLVED, /* contact_resolved */
    MOMENT_CONTACT_SKIPPED,  /* contact_skipped */
    MOMENT_CONTACT_FAILED,   /* contact_failed */
    MOMENT_STARTED,          /* started */
    MOMENT_NODE,             /* node/<id>[/<STATUS>] */
    MOMENT_COMPLETED,        /* completed[/<STATUS>] */
    MOMENT_OPTED_OUT,        /* opted_out */
    MOMENT_DELIVERY_FAILED,  /* delivery_failed */
    MOMENT_CANCELLED,        /* cancelled */
    MOMENT_FAILED,           /* failed[/<CODE or CLASS>] */
    MOMENT_FINISHED,         /* finished: any terminal outcome, also one that we do not know */
};

struct condition {
    enum moment moment;
    char *node_id;   /* MOMENT_NODE only */
    char *qualifier; /* STATUS of a node or of a completed run, CODE or CLASS of a failed one; NULL: any */
};

/* "completed/PASSED_CRITERIA" -> *ret (strings allocated with mem_strdup). ST_INVALID with the reason and what is
 * possible; a misspelt name gets "did you mean". */
int condition_parse(const char *text, struct condition *ret, struct errmsg *err) ATS_MUSTCHECK;
void condition_clear(struct condition *c);

struct field_constant {
    char *field;
    char *value_json; /* a JSON scalar: string, number or boolean as written in the file */
    unsigned line;
};

struct assessment_rule {
    char *score_from; /* "mean": of all answers that have a score; else a slug or node/slug */
};

struct rule { /* one entry below `on` */
    char *condition_text;
    struct condition condition;
    unsigned line;
    char *stage;      /* NULL: says nothing about it; likewise below */
    char **only_from; /* "none" stands for: in no stage of this job */
    size_t only_from_count;
    char *reject;
    struct field_constant *fields;
    size_t field_count;
    char **tags;
    size_t tag_count;
    char *note; /* "summary", or a template (domain/note.h) */
    struct assessment_rule *assessment;
};

enum answer_member {
    ANSWER_TEXT,                      /* answer */
    ANSWER_STATE,                     /* answerState */
    ANSWER_TRAFFIC_LIGHT,             /* trafficLight */
    ANSWER_OUTCOME,                   /* outcome */
    ANSWER_SCORE,                     /* score */
    ANSWER_DOCUMENT_S3_KEY,           /* documentS3Key */
    ANSWER_DOCUMENT_TWILIO_MEDIA_SID, /* documentTwilioMediaSid */
    ANSWER_CLASSIFIED_DOCUMENT_TYPE,  /* classifiedDocumentType */
};
enum { ANSWER_MEMBER_COUNT = 8 };
const char *answer_member_name(enum answer_member m); /* the sender's spelling */
bool answer_member_parse(const char *name, enum answer_member *ret);

enum value_type { VALUE_AS_IS, VALUE_TEXT, VALUE_NUMBER, VALUE_BOOLEAN, VALUE_DATE };

struct field_map {  /* one entry below a workflow's `fields` */
    char *key_text; /* as written: "screen-1/dbs", "nmc-pin.score" */
    char *node_id;  /* NULL: in any node */
    char *slug;
    enum answer_member member;
    char *field;
    enum value_type type;
    struct option_pair {
        char *from;
        char *to_json; /* a JSON scalar */
    } * options;
    size_t option_count; /* 0: the value itself; otherwise a value that is not listed writes nothing */
    bool clear;          /* null or absent answer erases the field */
    unsigned line;
};

/* "screen-1/dbs", "nmc-pin.score" -> node_id, slug, member of *ret. A part after the last dot is a member only if it is
 * the name of one. */
int field_key_parse(const char *text, struct field_map *ret, struct errmsg *err) ATS_MUSTCHECK;

struct workflow_map {
    char *external_id; /* "*": the default */
    char *connector;
    char *job; /* NULL: none */
    struct rule *rules;
    size_t rule_count;
    struct field_map *fields;
    size_t field_count;
    bool live;
    unsigned line;
};

struct mapping {
    struct workflow_map *workflows;
    size_t count;
};

/* The map of this workflow, else the "*" one, else NULL. external_id may be NULL (then "*"). */
const struct workflow_map *mapping_find(const struct mapping *m, const char *external_id);

#endif
