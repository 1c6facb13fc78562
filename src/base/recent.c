#include "base/recent.h"

#include "base/mem.h"

struct entry {
    uint64_t hash;
    int64_t until_ms;
};

struct recent {
    size_t max, count;
    struct entry entries[];
};

struct recent *recent_new(size_t max)
{
    size_t room = max > 0 ? max : 1;
    struct recent *r = mem_zalloc(sizeof *r + room * sizeof r->entries[0]);

    r->max = room;
    return r;
}

void recent_free(struct recent *r)
{
    mem_free(r);
}

static size_t place_of(const struct recent *r, uint64_t hash)
{
    size_t i = 0;

    while (i < r->count && r->entries[i].hash != hash) {
        i++;
    }
    return i;
}

/* Of those that end at the same time any, not always the same. */
static size_t first_to_end(const struct recent *r, uint64_t chance)
{
    size_t first = (size_t)(chance % r->count);

    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].until_ms < r->entries[first].until_ms) {
            first = i;
        }
    }
    return first;
}

void recent_add(struct recent *r, uint64_t hash, int64_t until_ms)
{
    size_t place = place_of(r, hash);

    if (place == r->count) {
        if (r->count < r->max) {
            r->count++;
        } else {
            place = first_to_end(r, hash);
        }
    }
    r->entries[place] = (struct entry){.hash = hash, .until_ms = until_ms};
}

void recent_remove(struct recent *r, uint64_t hash)
{
    size_t place = place_of(r, hash);

    if (place < r->count) {
        r->entries[place] = r->entries[--r->count];
    }
}

bool recent_has(const struct recent *r, uint64_t hash, int64_t now_ms)
{
    size_t place = place_of(r, hash);

    return place < r->count && r->entries[place].until_ms > now_ms;
}

bool recent_any(const struct recent *r, int64_t now_ms)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].until_ms > now_ms) {
            return true;
        }
    }
    return false;
}
