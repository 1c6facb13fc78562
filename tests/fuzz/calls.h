/*
 * calls - carries out the verbs of the shipped connectors for the fuzz targets, and holds every request and every result to what
 * is promised of all of them. The compiled programs are kept from input to input.
 */
#ifndef ATSYNC_TESTS_FUZZ_CALLS_H
#define ATSYNC_TESTS_FUZZ_CALLS_H

#include "fuzz.h"

#include "connector/step.h"

#define CALLS_BASE_URL "https://ats.example.com/api/v1"
#define CALLS_SECRET "s3cret-token-of-the-ats"
#define CALLS_NOW_US INT64_C(1770000000000000)

struct calls_plan {
    const char *type; /* "rest" … */
    const char *verb;
    const struct json *context;
    bool optional_settings; /* those are set that have no value by themselves */
    bool never_broken;      /* nothing that the ATS may say is a reason for the module to give up */
    /* The answer to a request; texts live until the next call. */
    void (*answer)(void *ctx, const struct prepared_request *request, struct httpc_response *ret);
    /* May be NULL: more about a request. */
    void (*look)(void *ctx, const struct prepared_request *request);
    void *ctx;
};

/* By the first letters of the alphabet, from 'a' on; other letters begin anew. */
const char *calls_type(char letter);
const char *calls_verb(char letter);

/* Nothing is done where the connector lacks the verb. */
void calls_make(const struct calls_plan *plan);

#endif
