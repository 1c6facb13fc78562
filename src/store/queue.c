#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "store/internal.h"
#include "store/store.h"
#include "sql.h"

enum {
    TRIES = 3,
    MARK_FOR_MS = 1000,
    MARK_MARGIN_US = 100000, /* commits do not become visible in the order of their due times */
};

static int64_t seen_before(struct claim_mark *mark)
{
    int64_t now_ms = clock_mono_ms();

    if (!mark) {
        return 0;
    }
    if (mark->until_ms <= now_ms) {
        *mark = (struct claim_mark){.until_ms = now_ms + MARK_FOR_MS};
    }
    return mark->since_us;
}

static struct claimed claimed_of(const struct db_result *r, size_t row, struct arena *arena)
{
    return (struct claimed){
        .source = arena_strdup(arena, db_text(r, row, 0)),
        .connector = arena_strdup(arena, db_text(r, row, 1)),
        .ref = arena_strdup(arena, db_text(r, row, 2)),
        .external_id = arena_strdup(arena, db_text(r, row, 3)),
        .version = db_i64(r, row, 4),
        .lease_no = db_i64(r, row, 5),
        .attempts = db_i64(r, row, 6),
        .due_us = db_time(r, row, 7),
        .sending = arena_strdup(arena, db_text(r, row, 9)),
        .index = row,
    };
}

/* The parameters that both claims begin with. */
static void add_claim(struct db_params *p, const char *connector, bool retries, const char *owner, int64_t lease_ms,
                      size_t limit)
{
    db_params_init(p);
    db_add_text(p, connector);
    db_add_text(p, owner);
    db_add_i64(p, lease_ms);
    db_add_i64(p, (int64_t)limit);
    db_add_i32(p, retries);
}

int store_claim(struct store *s, const char *connector, bool retries, const char *owner, int64_t lease_ms, size_t limit,
                struct claim_mark *mark, struct claim_batch *ret, struct errmsg *err)
{
    struct claim_batch b = {0};
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    add_claim(&p, connector, retries, owner, lease_ms, limit);
    db_add_time(&p, seen_before(mark));
    st = db_exec(s->db, &sql_claim, &p, DB_ROWS, &r, err);
    if (st != ST_OK) {
        return st;
    }
    b.arena = arena_new();
    b.count = db_rows(r);
    b.items = arena_alloc(b.arena, (b.count + 1) * sizeof *b.items);
    for (size_t i = 0; i < b.count; i++) {
        b.items[i] = claimed_of(r, i, b.arena);
        b.now_us = db_time(r, i, 8);
        if (mark && b.items[i].due_us - MARK_MARGIN_US > mark->since_us) {
            mark->since_us = b.items[i].due_us - MARK_MARGIN_US;
        }
    }
    db_result_free(r);
    *ret = b;
    return ST_OK;
}

int store_claim_unplanned(struct store *s, const char *connector, bool retries, const char *owner, int64_t lease_ms,
                          size_t limit, struct claim_walk *walk, struct claim_batch *ret, struct errmsg *err)
{
    struct claim_batch b = {0};
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    add_claim(&p, connector, retries, owner, lease_ms, limit);
    db_add_time(&p, walk->due_us);
    db_add_text(&p, walk->at[0] ? walk->at : "(0,0)");
    st = db_exec(s->db, &sql_claim_unplanned, &p, DB_ROWS, &r, err);
    if (st != ST_OK) {
        return st;
    }
    b.arena = arena_new();
    b.items = arena_alloc(b.arena, db_rows(r) * sizeof *b.items);
    for (size_t i = 0; i < db_rows(r); i++) {
        b.now_us = db_time(r, i, 8);
        if (db_text(r, i, 2)) {
            b.items[b.count] = claimed_of(r, i, b.arena);
            b.items[b.count].index = b.count;
            b.count++;
        } else if (db_text(r, i, 10)) {
            walk->due_us = db_time(r, i, 7);
            snprintf(walk->at, sizeof walk->at, "%s", db_text(r, i, 10));
            walk->at_end = false;
        } else {
            *walk = (struct claim_walk){.due_us = b.now_us - MARK_MARGIN_US, .at_end = true};
        }
    }
    db_result_free(r);
    *ret = b;
    return ST_OK;
}

void claim_batch_clear(struct claim_batch *b)
{
    arena_free(b->arena);
    b->arena = NULL;
    b->count = 0;
}

/* ---- leases ------------------------------------------------------------------------------------------------------- */

/* When the process began, in clock ticks since boot: field 22 of /proc/<pid>/stat (proc(5)); 0 if there is no such process, or if it is dead and
 * only waits for its parent to hear of it (field 3). */
static int64_t process_start(int64_t pid)
{
    char path[64];
    char line[1024];
    FILE *f;
    char *field = NULL;
    int64_t ticks = 0;

    snprintf(path, sizeof path, "/proc/%s/stat", num_text(pid).s);
    f = fopen(path, "re");
    if (!f) {
        return 0;
    }
    if (fgets(line, sizeof line, f)) {
        field = strrchr(line, ')'); /* the name before it may hold anything */
    }
    (void)fclose(f);
    if (field && (text_starts(field, ") Z") || text_starts(field, ") X"))) {
        return 0;
    }
    for (int i = 0; field && i < 20; i++) {
        field = strchr(field + 1, ' ');
    }
    if (field) {
        field[1 + strcspn(field + 1, " ")] = '\0';
        if (!text_to_i64(field + 1, 0, INT64_MAX, &ticks)) {
            return 0;
        }
    }
    return ticks;
}

char *store_owner_name(const char *instance, unsigned worker)
{
    char host[256] = "localhost";

    if (gethostname(host, sizeof host - 1) != 0) {
        snprintf(host, sizeof host, "localhost");
    }
    return mem_printf("%s@%s:%s:%s%s%s", instance, host, num_text(getpid()).s, num_text(process_start(getpid())).s,
                      worker > 0 ? "/" : "", worker > 0 ? num_text(worker).s : "");
}

/* Is this owner a process of this host that is not there any more? One of another host under our name counts as gone: it was moved here. */
static bool is_gone(const char *mine, const char *other)
{
    size_t host_len = strcspn(mine, ":");
    char *copy;
    char *start_text;
    int64_t pid = 0;
    int64_t start = 0;
    bool alive;

    if (strncmp(mine, other, host_len + 1) != 0) {
        return true;
    }
    copy = mem_strdup(other + host_len + 1);
    start_text = strchr(copy, ':');
    if (start_text) {
        *start_text++ = '\0';
        start_text[strcspn(start_text, "/")] = '\0'; /* another worker of a living process is alive */
    }
    alive = start_text && text_to_i64(copy, 1, INT32_MAX, &pid) && text_to_i64(start_text, 0, INT64_MAX, &start) &&
            process_start(pid) == start;
    mem_free(copy);
    return !alive;
}

int store_take_back(struct store *s, const char *owner, struct errmsg *err)
{
    char *instance = mem_strndup(owner, strcspn(owner, "@"));
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, instance);
    st = db_exec(s->db, &sql_lease_owners, &p, DB_ROWS, &r, err);
    for (size_t i = 0; st == ST_OK && i < db_rows(r); i++) {
        const char *other = db_text(r, i, 0);

        if (strcmp(other, owner) == 0 || is_gone(owner, other)) {
            db_params_init(&p);
            db_add_text(&p, other);
            st = db_exec(s->db, &sql_take_back, &p, DB_COMMAND, NULL, err);
        }
    }
    db_result_free(r);
    mem_free(instance);
    return st;
}

/* ---- candidates in work: what is done with them does not wait for one that somebody holds ------------------------------- */

/* As held_find. */
static int leave_out_held(struct store *s, const struct claimed *const *who, size_t count, bool of_known, bool *held,
                          bool *ret_any, struct errmsg *err)
{
    struct held_candidate *candidates = mem_array(count + 1, sizeof *candidates);
    int st;

    for (size_t i = 0; i < count; i++) {
        candidates[i] =
            (struct held_candidate){.source = who[i]->source, .connector = who[i]->connector, .ref = who[i]->ref};
    }
    st = held_find(s, candidates, count, of_known, ret_any, err);
    for (size_t i = 0; i < count; i++) {
        held[i] = candidates[i].held;
    }
    mem_free(candidates);
    return st;
}

/* try is called until it has done it for all but those that are held, which are marked. */
static int but_for_held(struct store *s, const struct claimed *const *who, size_t count, bool *held,
                        int (*try)(struct store *s, const void *what, const bool *held, struct errmsg *err),
                        const void *what, struct errmsg *err)
{
    int st = ST_OK;
    bool any = true;

    memset(held, 0, count * sizeof *held);
    if (count > 0 && held_any_known(s)) {
        st = leave_out_held(s, who, count, true, held, &any, err);
    }
    if (st != ST_OK) {
        return st;
    }
    for (int i = 0; i < TRIES; i++) {
        st = try(s, what, held, err);
        if (st != ST_CONFLICT || !held_waited_in_vain(s)) {
            break;
        }
        if ((st = leave_out_held(s, who, count, false, held, &any, err)) != ST_OK) {
            break;
        }
        st = ST_CONFLICT;
    }
    return st;
}

struct renewal {
    const struct claimed *const *who;
    size_t count;
    int64_t lease_ms;
};

static int try_renew(struct store *s, const void *what, const bool *held, struct errmsg *err)
{
    const struct renewal *n = what;
    struct db_params p;
    struct batch b;
    int st = ST_OK;

    batch_init(&b, "tttl");
    for (size_t i = 0; i < n->count; i++) {
        if (held[i]) {
            continue;
        }
        db_array_text(b.column[0], n->who[i]->source);
        db_array_text(b.column[1], n->who[i]->connector);
        db_array_text(b.column[2], n->who[i]->ref);
        db_array_i64(b.column[3], n->who[i]->lease_no);
        b.rows++;
    }
    db_params_init(&p);
    for (unsigned i = 0; i < b.columns; i++) {
        db_add_array(&p, b.column[i]);
    }
    db_add_i64(&p, n->lease_ms);
    if (b.rows > 0) {
        st = db_exec(s->db, &sql_renew, &p, DB_COMMAND, NULL, err);
    }
    batch_clear(&b);
    return st;
}

/* As everybody does who locks several rows of the queue, so that none waits for another in a circle. */
static int by_key(const struct claimed *x, const struct claimed *y)
{
    int order = strcmp(x->source, y->source);

    order = order != 0 ? order : strcmp(x->connector, y->connector);
    return order != 0 ? order : strcmp(x->ref, y->ref);
}

static int renewed_by_key(const void *a, const void *b)
{
    return by_key(*(const struct claimed *const *)a, *(const struct claimed *const *)b);
}

int store_renew(struct store *s, const struct claimed **who, size_t count, int64_t lease_ms, bool *ret_held,
                struct errmsg *err)
{
    const struct renewal n = {.who = who, .count = count, .lease_ms = lease_ms};

    if (count > 1) {
        qsort(who, count, sizeof(*who), renewed_by_key);
    }
    return but_for_held(s, who, count, ret_held, try_renew, &n, err);
}

static int put_back_by_key(const void *a, const void *b)
{
    return by_key(((const struct put_back *)a)->who, ((const struct put_back *)b)->who);
}

struct put_backs {
    const struct put_back *items;
    size_t count;
};

static int try_put_back(struct store *s, const void *what, const bool *held, struct errmsg *err)
{
    const struct put_backs *all = what;
    struct batch b;
    int st;

    batch_init(&b, "tttlltt");
    for (size_t i = 0; i < all->count; i++) {
        const struct put_back *item = &all->items[i];

        if (held[i]) {
            continue;
        }
        db_array_text(b.column[0], item->who->source);
        db_array_text(b.column[1], item->who->connector);
        db_array_text(b.column[2], item->who->ref);
        db_array_i64(b.column[3], item->who->lease_no);
        db_array_i64(b.column[4], item->delay_ms < 0 ? DB_NULL_I64 : item->delay_ms);
        db_array_text(b.column[5], item->error_class);
        db_array_text(b.column[6], item->error);
        b.rows++;
    }
    st = batch_exec(&b, s->db, &sql_put_back, DB_COMMAND, NULL, err);
    batch_clear(&b);
    return st;
}

int store_put_back(struct store *s, struct put_back *items, size_t count, struct errmsg *err)
{
    const struct claimed **who = mem_array(count + 1, sizeof *who);
    bool *held = mem_array(count + 1, sizeof *held);
    const struct put_backs all = {.items = items, .count = count};
    int st;

    if (count > 1) {
        qsort(items, count, sizeof *items, put_back_by_key);
    }
    for (size_t i = 0; i < count; i++) {
        who[i] = items[i].who;
    }
    st = but_for_held(s, who, count, held, try_put_back, &all, err);
    mem_free(held);
    mem_free(who);
    return st;
}

int store_wake_too_large(struct store *s, struct errmsg *err)
{
    return db_exec(s->db, &sql_wake_too_large, NULL, DB_COMMAND, NULL, err);
}

int store_wake_identified(struct store *s, int64_t began_within_s, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_i64(&p, began_within_s);
    return db_exec(s->db, &sql_wake_identified, &p, DB_COMMAND, NULL, err);
}

int store_wake_mapped(struct store *s, const struct mapping *m, struct errmsg *err)
{
    struct db_array *names = db_array_new(DB_TEXT_ARRAY);
    struct db_params p;
    bool all = false;
    int st;

    for (size_t i = 0; i < m->count; i++) {
        db_array_text(names, m->workflows[i].external_id);
        all = all || strcmp(m->workflows[i].external_id, "*") == 0;
    }
    db_params_init(&p);
    db_add_array(&p, names);
    db_add_bool(&p, all);
    st = db_exec(s->db, &sql_wake_mapped, &p, DB_COMMAND, NULL, err);
    db_array_free(names);
    return st;
}

int store_wake_unrouted(struct store *s, struct errmsg *err)
{
    return db_exec(s->db, &sql_wake_unrouted, NULL, DB_COMMAND, NULL, err);
}
