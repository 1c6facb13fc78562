#include "domain/ledger.h"

#include "base/text.h"
#include "lib/crypto.h"

static const char *const state_names[WRITE_STATE_COUNT] = {"pending", "sending", "applied",
                                                           "skipped", "dead",    "superseded"};

const char *write_state_name(enum write_state s)
{
    return state_names[s];
}

bool write_state_parse(const char *name, enum write_state *ret)
{
    for (int s = 0; s < WRITE_STATE_COUNT; s++) {
        if (strcmp(state_names[s], name) == 0) {
            *ret = (enum write_state)s;
            return true;
        }
    }
    return false;
}

static int row_key_compare(const void *key, const void *row)
{
    return strcmp(key, ((const struct ledger_row *)row)->key);
}

static const struct ledger_row *find_row(const struct ledger_row *rows, size_t count, const char *key)
{
    return count > 0 ? bsearch(key, rows, count, sizeof *rows, row_key_compare) : NULL;
}

/* ---- what was being sent: lines of "<rev> <kind> <hash> <bytes of the key>:<key>" ------------------------------------------- */

void ledger_sending_add(struct buf *list, const char *key, int64_t rev, enum write_kind kind, const char *hash)
{
    buf_printf(list, "%s %s %s %s:%s\n", num_text(rev).s, write_kind_name(kind), hash, num_text((int64_t)strlen(key)).s,
               key);
}

/* The word up to this mark, which is passed over. NULL: there is none. */
static char *next_word(char **at, char mark)
{
    char *word = *at;
    char *end = strchr(word, mark);

    if (!end) {
        return NULL;
    }
    *end = '\0';
    *at = end + 1;
    return word;
}

static bool take_sending(char **at, struct ledger_row *ret)
{
    char *rev = next_word(at, ' ');
    char *kind = rev ? next_word(at, ' ') : NULL;
    char *hash = kind ? next_word(at, ' ') : NULL;
    char *length = hash ? next_word(at, ':') : NULL;
    int64_t bytes = 0;

    *ret = (struct ledger_row){.state = WRITE_SENDING,
                               .hash = hash,
                               .unrecorded = true,
                               .first_tried_us = INT64_MIN,
                               .next_attempt_us = INT64_MIN};
    if (!length || !text_to_i64(rev, 1, INT64_MAX, &ret->rev) || !write_kind_parse(kind, &ret->kind) ||
        !text_to_i64(length, 1, INT32_MAX, &bytes) || (size_t)bytes >= strlen(*at) || (*at)[bytes] != '\n') {
        return false;
    }
    ret->key = *at;
    (*at)[bytes] = '\0';
    *at += bytes + 1;
    return true;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct ledger_row *)a)->key, ((const struct ledger_row *)b)->key);
}

int ledger_overlay(const struct ledger_row *rows, size_t row_count, const char *list, struct arena *arena,
                   struct ledger_row **ret, size_t *ret_count)
{
    char *at = arena_strdup(arena, list ? list : "");
    size_t lines = 0;
    size_t count = row_count;
    struct ledger_row *all;

    for (const char *p = at; *p; p++) {
        lines += *p == '\n';
    }
    all = arena_alloc(arena, (row_count + lines + 1) * sizeof *all);
    if (row_count > 0) {
        memcpy(all, rows, row_count * sizeof *all);
    }
    while (*at) {
        struct ledger_row sent;
        struct ledger_row *same;

        if (!take_sending(&at, &sent)) {
            return ST_INVALID;
        }
        same = row_count > 0 ? bsearch(sent.key, all, row_count, sizeof *all, row_key_compare) : NULL;
        if (!same) {
            all[count++] = sent;
            continue;
        }
        sent.stored = &rows[same - all];
        if (sent.stored->rev == sent.rev) { /* a repetition: what is known of the earlier attempts stays */
            sent.attempts = same->attempts;
            sent.first_tried_us = same->first_tried_us;
            sent.base_hash = same->base_hash;
        }
        *same = sent;
    }
    if (count > 1) {
        qsort(all, count, sizeof *all, by_key);
    }
    *ret = all;
    *ret_count = count;
    return ST_OK;
}

/* ---- diff ---------------------------------------------------------------------------------------------------------- */

static bool is_open(const struct ledger_row *row)
{
    return row->state == WRITE_PENDING || row->state == WRITE_SENDING;
}

/* What the ATS holds under this key as far as we know: a row that may have been executed leaves that unknown. */
static const char *known_base(const struct ledger_row *row)
{
    if (row->state == WRITE_APPLIED) {
        return row->hash;
    }
    return row->uncertain || row->state == WRITE_SENDING || row->attempts > 0 ? NULL : row->base_hash;
}

/* Tries the row's own value again, when it is due. */
static void repeat(struct ledger_item *item, int64_t now_us)
{
    const struct ledger_row *row = item->row;
    bool crashed = row->state == WRITE_SENDING;

    item->attempts = row->attempts;
    item->first_tried_us = row->first_tried_us;
    item->look_first = write_is_append(row->kind) && (crashed || row->uncertain);
    if (!crashed && row->next_attempt_us > now_us) {
        item->due_us = row->next_attempt_us;
        return;
    }
    item->step = LEDGER_SEND;
}

static void next_revision(struct ledger_item *item)
{
    item->fresh = true;
    item->rev = item->row->rev + 1;
    item->supersedes = is_open(item->row) || item->row->state == WRITE_DEAD;
    item->base_hash = known_base(item->row);
    item->step = item->base_hash && strcmp(item->base_hash, item->wish->hash) == 0 ? LEDGER_RECORD : LEDGER_SEND;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void ledger_skip_hash(const struct ledger_item *item, char ret[LEDGER_HASH_BYTES])
{
    const char **sorted = mem_array(item->only_from_count + 1, sizeof *sorted);
    uint8_t digest[CRYPTO_SHA256_BYTES];
    struct buf b;

    if (item->only_from_count > 0) {
        memcpy(sorted, item->only_from, item->only_from_count * sizeof *sorted);
        qsort(sorted, item->only_from_count, sizeof *sorted, by_text);
    }
    buf_init(&b, SIZE_MAX / 4);
    buf_printf(&b, "%s only from\n", item->wish->hash);
    for (size_t i = 0; i < item->only_from_count; i++) {
        if (i == 0 || strcmp(sorted[i - 1], sorted[i]) != 0) {
            buf_printf(&b, "%s %s\n", num_text((int64_t)strlen(sorted[i])).s, sorted[i]);
        }
    }
    crypto_sha256(b.data, b.len, digest);
    crypto_hex(digest, (LEDGER_HASH_BYTES - 1) / 2, ret);
    buf_free(&b);
    mem_free(sorted);
}

/* Skipped from where the candidate stood: the same as long as it may be moved from nowhere else. */
static bool is_skipped(const struct ledger_item *item)
{
    char hash[LEDGER_HASH_BYTES];

    if (item->row->state != WRITE_SKIPPED || item->wish->only_from_count == 0) {
        return false;
    }
    ledger_skip_hash(item, hash);
    return strcmp(item->row->hash, hash) == 0;
}

static void diff_set(struct ledger_item *item, int64_t now_us)
{
    const struct ledger_row *row = item->row;
    bool same = row->kind == item->wish->kind && (strcmp(row->hash, item->wish->hash) == 0 || is_skipped(item));

    if (!same || row->state == WRITE_SUPERSEDED) {
        next_revision(item);
        return;
    }
    item->base_hash = row->base_hash;
    if (is_open(row)) {
        repeat(item, now_us);
    }
}

static void diff_append(struct ledger_item *item, int64_t now_us)
{
    if (item->row->state == WRITE_SUPERSEDED) {
        next_revision(item);
        item->look_first =
            item->row->uncertain || item->row->attempts > 0; /* it may have been given up in the middle of a call */
        item->step = LEDGER_SEND;
    } else if (is_open(item->row)) {
        repeat(item, now_us);
    }
}

/* Calls are made in this order: what the record says before where it stands, and the note that tells of it last. */
static int rank(enum write_kind k)
{
    switch (k) {
    case WRITE_FIELD:
        return 0;
    case WRITE_TAG:
        return 1;
    case WRITE_ASSESSMENT:
        return 2;
    case WRITE_STAGE:
    case WRITE_REJECT:
        return 3;
    case WRITE_NOTE:
        return 4;
    }
    return 5;
}

static int by_rank(const void *a, const void *b)
{
    const struct ledger_item *x = a;
    const struct ledger_item *y = b;
    int rx = rank(x->wish->kind);
    int ry = rank(y->wish->kind);

    if (rx != ry) {
        return rx - ry;
    }
    int by_time =
        stamp_compare(&x->wish->stamp, &y->wish->stamp); /* notes appear in the order in which things happened */

    return by_time ? by_time : strcmp(x->wish->key, y->wish->key);
}

static bool is_wanted(const struct plan *plan, const char *key)
{
    size_t low = 0;
    size_t high = plan->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(key, plan->items[mid].key);

        if (order == 0) {
            return true;
        }
        if (order < 0) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return false;
}

static bool is_among(const char *const *texts, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(texts[i], text) == 0) {
            return true;
        }
    }
    return false;
}

/* See struct ledger_item. */
static void find_only_from(struct ledger_item *item, struct arena *arena)
{
    const struct desired *wish = item->wish;
    const struct ledger_row *row = item->row;
    /* once something of ours was there, who has moved the candidate since counts */
    bool was_there = row && (row->state == WRITE_APPLIED || row->base_hash);
    size_t count = wish->only_from_count;
    size_t room = count;
    const char **all;

    item->only_from = wish->only_from;
    item->only_from_count = count;
    if (!wish->before || was_there) {
        return;
    }
    for (const struct passage *p = wish->before; p; p = p->before) {
        room += p->only_from_count;
    }
    all = arena_alloc(arena, room * sizeof *all);
    memcpy(all, wish->only_from, count * sizeof *all);
    for (const struct passage *p = wish->before; p; p = p->before) {
        /* what the same event tells was no time in between: nobody would have written it */
        if (strcmp(p->event_id, wish->stamp.event_id) == 0 || !is_among(all, count, p->stage)) {
            continue;
        }
        if (p->only_from_count == 0) {
            count = 0;
            break;
        }
        memcpy(all + count, p->only_from, p->only_from_count * sizeof *all);
        count += p->only_from_count;
    }
    item->only_from = all;
    item->only_from_count = count;
}

void ledger_diff(const struct plan *plan, const struct ledger_row *rows, size_t row_count, int64_t now_us,
                 struct arena *arena, struct ledger_diff *ret)
{
    struct ledger_diff d = {.next_due_us = INT64_MAX};

    d.items = arena_alloc(arena, (plan->count + 1) * sizeof *d.items);
    d.obsolete = arena_alloc(arena, (row_count + 1) * sizeof *d.obsolete);
    for (size_t i = 0; i < plan->count; i++) {
        struct ledger_item *item = &d.items[d.count++];

        *item = (struct ledger_item){
            .wish = &plan->items[i], .step = LEDGER_KEEP, .first_tried_us = INT64_MIN, .due_us = INT64_MAX};
        item->row = find_row(rows, row_count, item->wish->key);
        find_only_from(item, arena);
        if (!item->row) {
            item->fresh = true;
            item->rev = 1;
            item->step = LEDGER_SEND;
        } else {
            item->rev = item->row->rev;
            (write_is_append(item->wish->kind) ? diff_append : diff_set)(item, now_us);
        }
        d.to_send += item->step == LEDGER_SEND;
        d.next_due_us = item->due_us < d.next_due_us ? item->due_us : d.next_due_us;
    }
    if (d.count > 1) {
        qsort(d.items, d.count, sizeof *d.items, by_rank);
    }
    for (size_t i = 0; i < row_count; i++) {
        if ((is_open(&rows[i]) || rows[i].state == WRITE_DEAD) && !is_wanted(plan, rows[i].key)) {
            d.obsolete[d.obsolete_count++] = &rows[i];
        }
    }
    *ret = d;
}

void ledger_noted_elsewhere(struct ledger_diff *diff, const char *const *keys, size_t count)
{
    for (size_t i = 0; count > 0 && i < diff->count; i++) {
        struct ledger_item *item = &diff->items[i];

        if (item->step == LEDGER_SEND && write_is_append(item->wish->kind) &&
            (!item->row || ledger_is_listed(item->row)) &&
            bsearch(&item->wish->key, keys, count, sizeof *keys, by_text)) {
            item->look_first = true;
        }
    }
}

void ledger_list_only(struct ledger_diff *diff)
{
    for (size_t i = 0; i < diff->count; i++) {
        struct ledger_item *item = &diff->items[i];

        if (item->step == LEDGER_SEND) {
            item->step = item->fresh && !item->look_first ? LEDGER_LIST : LEDGER_KEEP;
        }
    }
    diff->to_send = 0;
}

bool ledger_is_listed(const struct ledger_row *row)
{
    return row->state == WRITE_PENDING && row->attempts == 0 && !row->uncertain && !row->failed_before;
}

bool ledger_needs_intent(const struct ledger_diff *diff)
{
    bool needs = diff->obsolete_count > 0;

    for (size_t i = 0; i < diff->count && !needs; i++) {
        const struct ledger_item *item = &diff->items[i];

        bool is_first = !item->row || (ledger_is_listed(item->row) && !item->row->base_hash);

        needs = item->step == LEDGER_RECORD ||
                (item->step == LEDGER_SEND && (!is_first || write_is_append(item->wish->kind)));
    }
    return needs;
}
