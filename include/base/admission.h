/*
 * admission - who gets a place when all are taken, and whose memory goes when there is too little.
 *
 * What a server that faces strangers decides about their connections, beside any protocol. Its owner tells of each
 * connection where it comes from and what it does, and of each body how much memory it takes; asked, admission names who has
 * to go. It closes and frees nothing of the owner's, and reads no clock.
 *
 * A connection is proven by its first request that was of use. When all places are taken and somebody waits, unproven
 * connections go: of an address that holds more than ten of them, else the oldest of all; if all of them are newcomers, a
 * proven one that rests between two requests, the longest resting. If that one has not rested for long either, who waits
 * has to. So a crowd of idle connections keeps nobody out, and newcomers do not push out each other.
 *
 * Bodies that are complete and worked on keep their memory. Of those that still arrive, when all together take too much,
 * the oldest of the address that sent most over unproven connections goes first, then the oldest of any.
 *
 * One thread.
 */
#ifndef ATSYNC_BASE_ADMISSION_H
#define ATSYNC_BASE_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum {
    ADMISSION_CHOSEN_MAX = 10,  /* connections that go at a time */
    ADMISSION_NEWCOMER_MS = 50, /* enough for a request that was sent before its connection was accepted */
    ADMISSION_RESTED_MS = 250,
};

struct sockaddr;
struct admission;
struct admission_address;

/* Who is on the other side: an IPv4 address, or the first half of an IPv6 address, of which a peer may have any number. */
struct admission_key {
    uint8_t bytes[8];
};

enum admission_state {
    ADMISSION_BUSY,    /* sends a request, or takes an answer */
    ADMISSION_RESTING, /* between two requests */
    ADMISSION_WORKING, /* its request is worked on: it is never chosen */
    ADMISSION_LEAVING, /* was closed, and is not gone yet: nothing changes this */
};

/* Part of the owner's connection, whose address is in owner. The other members are admission's. */
struct admission_conn {
    void *owner;
    struct admission_conn *prev; /* in the list of those it may be chosen from */
    struct admission_conn *next;
    struct admission_places *places;
    struct admission_address *address;
    int64_t since_ms; /* in its state; while it is not proven: since it came */
    enum admission_state state;
    bool proven;
};

struct admission_list {
    struct admission_conn *head; /* the oldest */
    struct admission_conn *tail;
};

/* The places of one listener; begins zeroed but for max. */
struct admission_places {
    unsigned max;
    unsigned taken;
    unsigned leaving; /* of these */
    struct admission_list unproven;
    struct admission_list resting; /* proven, between two requests */
};

/* Part of the owner's request, whose address is in owner; begins zeroed but for owner and conn. */
struct admission_body {
    void *owner;
    struct admission_conn *conn;
    struct admission_body *earlier; /* of those that arrive */
    struct admission_body *later;
    uint64_t bytes; /* of memory, as told */
    bool arriving;
    bool settled;
};

struct admission *admission_new(uint64_t seed); /* keeps others from choosing addresses that are found slowly */
void admission_free(struct admission *a);       /* when all connections have left; NULL is harmless */

/* ---- connections; times are of one clock that never goes back */

/* An IPv4 address has the same key as IPv6 shows it (::ffff:192.0.2.1); what is no IP address, or NULL, shares one. */
struct admission_key admission_key(const struct sockaddr *from);
/* Has this address fewer connections than per_address_max (0: no limit), in all places together? */
bool admission_may_come(struct admission *a, const struct admission_key *key, unsigned per_address_max);
void admission_come(struct admission *a, struct admission_conn *c, struct admission_places *places,
                    const struct admission_key *key, int64_t now_ms);
void admission_leave(struct admission *a, struct admission_conn *c);
void admission_move(struct admission_conn *c, enum admission_state state, int64_t now_ms);
void admission_prove(struct admission_conn *c, int64_t now_ms);

/* All places are taken, and nobody is about to leave. */
bool admission_is_full(const struct admission_places *places);
/* From when on somebody could give up his place; INT64_MAX: nobody. */
int64_t admission_spare_at_ms(const struct admission_places *places);
/* Who has to go for somebody who waits, although nobody need be waiting; how many. The owner moves them to ADMISSION_LEAVING. */
size_t admission_choose(const struct admission *a, const struct admission_places *places, int64_t now_ms,
                        struct admission_conn *ret[ADMISSION_CHOSEN_MAX]);

/* ---- bodies */

/* Would so many bytes fit beside what is settled? max_bytes 0: no limit. */
bool admission_body_fits(const struct admission *a, uint64_t bytes, uint64_t max_bytes);
/* From here until it is settled or gone, others may need its memory more. */
void admission_body_arrives(struct admission *a, struct admission_body *b);
void admission_body_count(struct admission *a, struct admission_body *b, uint64_t bytes); /* that it takes now */
/* It is complete. kept: it will be needed for a while; may be said later. */
void admission_body_settle(struct admission *a, struct admission_body *b, bool kept);
void admission_body_gone(struct admission *a, struct admission_body *b); /* its memory was freed */
/* While all bodies take more than max_bytes (0: no limit): one that still arrives and has to go; else NULL. The owner frees
 * it, and tells. */
struct admission_body *admission_body_victim(const struct admission *a, uint64_t max_bytes);

#endif
