/*
 * Rows of the queue that other sessions hold: an administrator's open transaction, a daemon that was stopped in the middle of one. Nobody else must wait for them.
 */
#include "base/clock.h"
#include "base/recent.h"
#include "base/text.h"
#include "store/internal.h"
#include "sql.h"

enum {
    KNOWN_MAX = 32,
    KNOWN_MS = 60000, /* from when it was last found to be held */
};

static const char lock_not_available[] = "55P03";

struct recent *held_known_new(void)
{
    return recent_new(KNOWN_MAX);
}

static uint64_t hash_of(const struct held_candidate *c)
{
    return text_hash64(c->ref, strlen(c->ref)) ^ text_hash64(c->source, strlen(c->source)) ^
           (text_hash64(c->connector, strlen(c->connector)) << 1);
}

bool held_waited_in_vain(const struct store *s)
{
    return strcmp(db_sqlstate(s->db), lock_not_available) == 0;
}

bool held_any_known(const struct store *s)
{
    return recent_any(s->held, clock_mono_ms());
}

static int ask(struct store *s, struct held_candidate *const *whom, size_t count, bool *ret_any, struct errmsg *err)
{
    int64_t now_ms = clock_mono_ms();
    struct db_result *r = NULL;
    struct batch b;
    int st;

    batch_init(&b, "ttt");
    for (size_t i = 0; i < count; i++) {
        recent_remove(s->held, hash_of(whom[i]));
        db_array_text(b.column[0], whom[i]->source);
        db_array_text(b.column[1], whom[i]->connector);
        db_array_text(b.column[2], whom[i]->ref);
        b.rows++;
    }
    st = batch_exec(&b, s->db, &sql_held, DB_ROWS, &r, err);
    for (size_t row = 0; r && row < db_rows(r); row++) {
        struct held_candidate *c = whom[db_i64(r, row, 0) - 1];

        if (!*ret_any) {
            (void)snprintf(s->held_by, sizeof s->held_by, "%s", db_is_null(r, row, 1) ? "" : db_text(r, row, 1));
        }
        c->held = *ret_any = true;
        recent_add(s->held, hash_of(c), now_ms + KNOWN_MS);
    }
    db_result_free(r);
    batch_clear(&b);
    return st;
}

int held_find(struct store *s, struct held_candidate *candidates, size_t count, bool of_known, bool *ret_any,
              struct errmsg *err)
{
    struct held_candidate **whom = mem_array(count + 1, sizeof *whom);
    int64_t now_ms = clock_mono_ms();
    size_t asked = 0;
    int st;

    *ret_any = false;
    for (size_t i = 0; i < count; i++) {
        candidates[i].held = false;
        if (!of_known || recent_has(s->held, hash_of(&candidates[i]), now_ms)) {
            whom[asked++] = &candidates[i];
        }
    }
    st = ask(s, whom, asked, ret_any, err);
    mem_free(whom);
    return st;
}

const char *store_held_by(const struct store *s)
{
    return s->held_by;
}
