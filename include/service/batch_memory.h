/*
 * batch_memory - candidates claimed together, which share their memory until the last of them is recorded; and how much memory all that are in work may
 * take together.
 *
 * Who has the signing secret can make a candidate as large as may be read (delivery.max_history), and its calls take long: one large one at a time is in work
 * beside the others, which share the rest.
 *
 * Thread: the dispatcher's; batch_memory_unref: any.
 */
#ifndef ATSYNC_SERVICE_BATCH_MEMORY_H
#define ATSYNC_SERVICE_BATCH_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/name_table.h"
#include "store/store.h"

struct memory_use; /* of all batches */

struct batch_memory {
    struct claim_batch claim;
    struct loaded *loaded;
    struct name_table *names; /* as they were when it was planned */
    int64_t claimed_mono_us;
    int64_t claim_began_ms;
    bool connector_waits; /* no calls follow */
    bool is_large;        /* its one candidate; set before batch_memory_count, which lets one be in work at a time */
    /* batch_memory's own */
    struct memory_use *use;
    size_t bytes;
    atomic_size_t refs;
};

struct memory_use *memory_use_new(void);
void memory_use_free(struct memory_use *u); /* after the last batch; NULL is harmless */

/* How many bytes of events may be read at once, of delivery.max_history: of a crowd, or of one that is not large; or of one alone. */
int64_t memory_use_load_max(int64_t max_history_bytes, bool is_large);
/* Whether more may be taken into work; at least one that is not large fits then. */
bool memory_use_has_room(const struct memory_use *u, int64_t max_history_bytes);
bool memory_use_large_in_work(const struct memory_use *u);

/* Who was found to be large is remembered, as far as there is room, so that it need not be loaded to know it while another is in work. */
void memory_use_know_large(struct memory_use *u, const struct claimed *who, bool is_large);
bool memory_use_is_known_large(const struct memory_use *u, const struct claimed *who);
bool memory_use_any_known_large(const struct memory_use *u, const struct claim_batch *b);

/* Takes a reference of its own to the names; one reference to the batch is the caller's. of_one: a copy of that candidate, not loaded. */
struct batch_memory *batch_memory_new(struct memory_use *use, struct name_table *names);
struct batch_memory *batch_memory_of_one(const struct batch_memory *all, size_t i, struct name_table *names);
void batch_memory_ref(struct batch_memory *m);
void batch_memory_unref(struct batch_memory *m);
void batch_memory_count(struct batch_memory *m); /* it is loaded and planned: from here on it counts */

#endif
