/*
 * crowd - many bad clients at once, and a good one that measures how it is served meanwhile.
 *
 * A crowd keeps a number of connections open, each of which says something at once and then goes on with something else,
 * piece by piece; one that is closed is opened again. It is moved by the thread that calls crowd_run. The good client
 * has a thread of its own and no part of the harness: it sends signed events, in turn over a connection that it keeps
 * and over a new one each time.
 */
#ifndef ATSYNC_TESTS_CROWD_H
#define ATSYNC_TESTS_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum { CROWD_TEXTS_MAX = 8 };

enum crowd_then {                     /* when a connection has said what it had to say at once: */
                  CROWD_STAYS,        /* it goes on with drip, or says nothing more */
                  CROWD_REPEATS,      /* it says it again, without an end */
                  CROWD_ENDS_SENDING, /* it is half closed */
                  CROWD_HANGS_UP,     /* it is closed */
                  CROWD_BREAKS,       /* it is closed with a reset */
};

struct crowd_text {
    const char *bytes;
    size_t len;
};

struct crowd {
    unsigned port;
    unsigned connections;
    unsigned addresses;                       /* that they come from: 127.0.1.1 and following; 0: from 127.0.0.1 */
    unsigned per_second_max;                  /* new connections; 0: 2000 */
    struct crowd_text texts[CROWD_TEXTS_MAX]; /* said at once, a connection one of them; none: nothing */
    unsigned text_count;
    enum crowd_then then;
    const char *drip; /* CROWD_STAYS: this, every drip_ms (0: as fast as it is taken); NULL: nothing */
    size_t drip_len;
    int drip_ms;
    bool takes_answers;
};

struct crowd_figures {
    unsigned opened;
    unsigned ended;     /* by the server */
    unsigned left;      /* not ended by it when patience was over */
    int64_t longest_ms; /* from opening a connection until the server ended it */
    uint64_t sent_bytes;
    unsigned failed; /* not opened: there is no descriptor or port for one more */
};

/* For duration_ms as described, then nothing is opened any more, and all goes on until the server has ended every
 * connection, at most patience_ms. */
struct crowd_figures crowd_run(const struct crowd *crowd, int64_t duration_ms, int64_t patience_ms);

/* ---- the good client */
struct good_client;

struct good_config {
    unsigned port;
    bool tls;
    int interval_ms;
    int rest_max_ms;   /* a kept connection that has rested longer is not used again: the server may be closing it */
    const char *event; /* JSON with mark in it, which is replaced by a number for each */
    const char *mark;  /* digits, as many as the number may have */
    const char *secret;
    int pid; /* of the daemon, whose memory and descriptors are looked at */
};

struct good_figures {
    unsigned answers;                   /* 200 */
    unsigned failures;                  /* others, and none */
    unsigned reconnects;                /* of the connection that is kept */
    char failure[256];                  /* the first one */
    int64_t p50_us, p99_us, longest_us; /* from the connecting, or the sending, to the whole answer */
    int64_t memory_max_kib;             /* resident, of the daemon */
    unsigned descriptors_max;
    int64_t processor_ms; /* that the daemon took, in duration_ms */
    int64_t duration_ms;
};

struct good_client *good_start(const struct good_config *config); /* config's texts must stay */
struct good_figures
good_figures_since(struct good_client *g); /* the last call, or the start; waits for one more request */
void good_stop(struct good_client *g);
unsigned good_stored(const struct good_client *g); /* in all: answered {"status":"stored"}; after good_stop */
void good_free(struct good_client *g);

#endif
