#include "service/batch_memory.h"

#include <string.h>

#include "base/mem.h"
#include "base/recent.h"
#include "base/text.h"

enum {
    SMALL_SHARE = 4, /* a candidate of more than this part of delivery.max_history is large */
    LARGE_KNOWN_MAX = 256,
};

struct memory_use {
    atomic_size_t small_bytes;
    atomic_bool large_in_work;
    struct recent *large; /* the dispatcher's own */
};

struct memory_use *memory_use_new(void)
{
    struct memory_use *u = mem_zalloc(sizeof *u);

    u->large = recent_new(LARGE_KNOWN_MAX);
    return u;
}

void memory_use_free(struct memory_use *u)
{
    if (u) {
        recent_free(u->large);
        mem_free(u);
    }
}

int64_t memory_use_load_max(int64_t max_history_bytes, bool is_large)
{
    return max_history_bytes / (is_large ? 1 : SMALL_SHARE);
}

bool memory_use_has_room(const struct memory_use *u, int64_t max_history_bytes)
{
    return atomic_load(&u->small_bytes) <= 2 * STORE_LOAD_MEMORY(memory_use_load_max(max_history_bytes, false));
}

bool memory_use_large_in_work(const struct memory_use *u)
{
    return atomic_load(&u->large_in_work);
}

/* ---- who is large --------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct claimed *who)
{
    return text_hash64(who->ref, strlen(who->ref)) ^ text_hash64(who->source, strlen(who->source));
}

bool memory_use_is_known_large(const struct memory_use *u, const struct claimed *who)
{
    return recent_any(u->large, 0) && recent_has(u->large, hash_of(who), 0);
}

bool memory_use_any_known_large(const struct memory_use *u, const struct claim_batch *b)
{
    size_t i = 0;

    while (i < b->count && !memory_use_is_known_large(u, &b->items[i])) {
        i++;
    }
    return i < b->count;
}

void memory_use_know_large(struct memory_use *u, const struct claimed *who, bool is_large)
{
    if (is_large) {
        recent_add(u->large, hash_of(who), INT64_MAX);
    } else {
        recent_remove(u->large, hash_of(who));
    }
}

/* ---- batches ---------------------------------------------------------------------------------------------------------- */

struct batch_memory *batch_memory_new(struct memory_use *use, struct name_table *names)
{
    struct batch_memory *m = mem_zalloc(sizeof *m);

    m->use = use;
    m->names = name_table_ref(names);
    atomic_init(&m->refs, 1);
    return m;
}

struct batch_memory *batch_memory_of_one(const struct batch_memory *all, size_t i, struct name_table *names)
{
    struct batch_memory *m = batch_memory_new(all->use, names);
    struct arena *arena = arena_new();
    struct claimed *who = arena_alloc(arena, sizeof *who);

    *who = all->claim.items[i];
    who->source = arena_strdup(arena, who->source);
    who->connector = arena_strdup(arena, who->connector);
    who->ref = arena_strdup(arena, who->ref);
    who->external_id = arena_strdup(arena, who->external_id);
    who->sending = arena_strdup(arena, who->sending);
    who->index = 0;
    m->claim = (struct claim_batch){.items = who, .count = 1, .now_us = all->claim.now_us, .arena = arena};
    m->claimed_mono_us = all->claimed_mono_us;
    m->claim_began_ms = all->claim_began_ms;
    m->connector_waits = all->connector_waits;
    return m;
}

void batch_memory_ref(struct batch_memory *m)
{
    atomic_fetch_add(&m->refs, 1);
}

void batch_memory_unref(struct batch_memory *m)
{
    if (atomic_fetch_sub(&m->refs, 1) == 1) {
        if (m->is_large) {
            atomic_store(&m->use->large_in_work, false);
        } else {
            atomic_fetch_sub(&m->use->small_bytes, m->bytes);
        }
        claim_batch_clear(&m->claim);
        name_table_unref(m->names);
        mem_free(m);
    }
}

void batch_memory_count(struct batch_memory *m)
{
    m->bytes = arena_bytes(m->claim.arena);
    m->is_large = m->is_large && !atomic_exchange(&m->use->large_in_work, true);
    if (!m->is_large) {
        atomic_fetch_add(&m->use->small_bytes, m->bytes);
    }
}
