#include "domain/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

enum { NOW = 1000 };
#define ANY_TIME INT64_MIN

static void test_states(void **state)
{
    static const char *const names[WRITE_STATE_COUNT] = {"pending", "sending", "applied",
                                                         "skipped", "dead",    "superseded"};
    enum write_state s = WRITE_DEAD;

    (void)state;
    for (int i = 0; i < WRITE_STATE_COUNT; i++) {
        assert_string_equal(write_state_name((enum write_state)i), names[i]);
        assert_true(write_state_parse(names[i], &s));
        assert_int_equal(s, i);
    }
    s = WRITE_DEAD;
    assert_false(write_state_parse("done", &s));
    assert_int_equal(s, WRITE_DEAD);
}

/* One wish of value "new" against one live row. */
static const struct {
    const char *rule;
    enum write_kind kind;
    struct ledger_row row; /* hash NULL: there is none */
    enum ledger_step step;
    int64_t rev;
    bool fresh, supersedes, look_first;
    const char *base;
    int64_t due_us;
} cases[] = {
    {"never written", WRITE_FIELD, {0}, LEDGER_SEND, 1, true, false, false, NULL, INT64_MAX},
    {"there already",
     WRITE_FIELD,
     {.hash = "new", .rev = 3, .state = WRITE_APPLIED, .attempts = 1},
     LEDGER_KEEP,
     3,
     false,
     false,
     false,
     NULL,
     INT64_MAX},
    {"another value is there",
     WRITE_FIELD,
     {.hash = "old", .rev = 3, .state = WRITE_APPLIED, .attempts = 1},
     LEDGER_SEND,
     4,
     true,
     false,
     false,
     "old",
     INT64_MAX},
    {"waiting, and it is time",
     WRITE_FIELD,
     {.hash = "new", .rev = 1, .state = WRITE_PENDING, .attempts = 2, .next_attempt_us = NOW},
     LEDGER_SEND,
     1,
     false,
     false,
     false,
     NULL,
     INT64_MAX},
    {"waiting, not yet",
     WRITE_FIELD,
     {.hash = "new", .rev = 1, .state = WRITE_PENDING, .attempts = 2, .next_attempt_us = NOW + 1},
     LEDGER_KEEP,
     1,
     false,
     false,
     false,
     NULL,
     NOW + 1},
    {"a value that became obsolete before it was sent is never sent",
     WRITE_FIELD,
     {.hash = "old", .base_hash = "older", .rev = 2, .state = WRITE_PENDING, .next_attempt_us = NOW + 99},
     LEDGER_SEND,
     3,
     true,
     true,
     false,
     "older",
     INT64_MAX},
    {"it never left, and the ATS still has what is wanted again: no call",
     WRITE_FIELD,
     {.hash = "old", .base_hash = "new", .rev = 2, .state = WRITE_PENDING, .next_attempt_us = ANY_TIME},
     LEDGER_RECORD,
     3,
     true,
     true,
     false,
     "new",
     INT64_MAX},
    {"it was tried: what the ATS has is not known",
     WRITE_FIELD,
     {.hash = "old", .base_hash = "new", .rev = 2, .state = WRITE_PENDING, .attempts = 1, .next_attempt_us = ANY_TIME},
     LEDGER_SEND,
     3,
     true,
     true,
     false,
     NULL,
     INT64_MAX},
    {"it is perhaps there",
     WRITE_FIELD,
     {.hash = "old",
      .base_hash = "new",
      .rev = 2,
      .state = WRITE_PENDING,
      .uncertain = true,
      .next_attempt_us = ANY_TIME},
     LEDGER_SEND,
     3,
     true,
     true,
     false,
     NULL,
     INT64_MAX},
    {"the daemon died in the call of another value",
     WRITE_FIELD,
     {.hash = "old", .base_hash = "new", .rev = 2, .state = WRITE_SENDING, .attempts = 1},
     LEDGER_SEND,
     3,
     true,
     true,
     false,
     NULL,
     INT64_MAX},
    {"the daemon died in the call: a set write is simply repeated, at once",
     WRITE_FIELD,
     {.hash = "new", .rev = 2, .state = WRITE_SENDING, .attempts = 1, .next_attempt_us = NOW + 99},
     LEDGER_SEND,
     2,
     false,
     false,
     false,
     NULL,
     INT64_MAX},
    {"skipped: not tried again for this value",
     WRITE_STAGE,
     {.hash = "new", .rev = 1, .state = WRITE_SKIPPED, .attempts = 1},
     LEDGER_KEEP,
     1,
     false,
     false,
     false,
     NULL,
     INT64_MAX},
    {"another value is wanted instead of a skipped one",
     WRITE_STAGE,
     {.hash = "old", .rev = 1, .state = WRITE_SKIPPED, .attempts = 1},
     LEDGER_SEND,
     2,
     true,
     false,
     false,
     NULL,
     INT64_MAX},
    {"dead: somebody has to look",
     WRITE_FIELD,
     {.hash = "new", .rev = 1, .state = WRITE_DEAD, .attempts = 1},
     LEDGER_KEEP,
     1,
     false,
     false,
     false,
     NULL,
     INT64_MAX},
    {"a dead value is superseded by a newer one",
     WRITE_FIELD,
     {.hash = "old", .rev = 1, .state = WRITE_DEAD, .attempts = 1},
     LEDGER_SEND,
     2,
     true,
     true,
     false,
     NULL,
     INT64_MAX},
    {"superseded before it was done, wanted again",
     WRITE_FIELD,
     {.hash = "new", .rev = 1, .state = WRITE_SUPERSEDED},
     LEDGER_SEND,
     2,
     true,
     false,
     false,
     NULL,
     INT64_MAX},
    {"stage and reject share a key: the same text is not the same value",
     WRITE_REJECT,
     {.hash = "new", .kind = WRITE_STAGE, .rev = 1, .state = WRITE_APPLIED},
     LEDGER_RECORD,
     2,
     true,
     false,
     false,
     "new",
     INT64_MAX},

    {"a note that was never posted", WRITE_NOTE, {0}, LEDGER_SEND, 1, true, false, false, NULL, INT64_MAX},
    {"a note that is there, whatever happens to its text",
     WRITE_NOTE,
     {.hash = "old", .rev = 1, .state = WRITE_APPLIED, .attempts = 1},
     LEDGER_KEEP,
     1,
     false,
     false,
     false,
     NULL,
     INT64_MAX},
    {"a note that was skipped",
     WRITE_NOTE,
     {.hash = "old", .rev = 1, .state = WRITE_SKIPPED},
     LEDGER_KEEP,
     1,
     false,
     false,
     false,
     NULL,
     INT64_MAX},
    {"a note that is dead",
     WRITE_NOTE,
     {.hash = "old", .rev = 1, .state = WRITE_DEAD},
     LEDGER_KEEP,
     1,
     false,
     false,
     false,
     NULL,
     INT64_MAX},
    {"a note that was surely not posted",
     WRITE_NOTE,
     {.hash = "old", .rev = 1, .state = WRITE_PENDING, .attempts = 1, .next_attempt_us = ANY_TIME},
     LEDGER_SEND,
     1,
     false,
     false,
     false,
     NULL,
     INT64_MAX},
    {"perhaps posted: look before repeating",
     WRITE_NOTE,
     {.hash = "old", .rev = 1, .state = WRITE_PENDING, .uncertain = true, .attempts = 1, .next_attempt_us = ANY_TIME},
     LEDGER_SEND,
     1,
     false,
     false,
     true,
     NULL,
     INT64_MAX},
    {"the daemon died in the call: look",
     WRITE_NOTE,
     {.hash = "new", .rev = 1, .state = WRITE_SENDING, .attempts = 1},
     LEDGER_SEND,
     1,
     false,
     false,
     true,
     NULL,
     INT64_MAX},
    {"perhaps posted, not due: wait",
     WRITE_NOTE,
     {.hash = "new", .rev = 1, .state = WRITE_PENDING, .uncertain = true, .attempts = 1, .next_attempt_us = NOW + 5},
     LEDGER_KEEP,
     1,
     false,
     false,
     true,
     NULL,
     NOW + 5},
    {"not wanted for a while, wanted again: it never left",
     WRITE_NOTE,
     {.hash = "new", .rev = 1, .state = WRITE_SUPERSEDED},
     LEDGER_SEND,
     2,
     true,
     false,
     false,
     NULL,
     INT64_MAX},
    {"not wanted any more while it was being posted, wanted again: look",
     WRITE_NOTE,
     {.hash = "new", .rev = 1, .state = WRITE_SUPERSEDED, .attempts = 1},
     LEDGER_SEND,
     2,
     true,
     false,
     true,
     NULL,
     INT64_MAX},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct arena *a = arena_new();
        struct desired wish = {.key = "k", .kind = cases[i].kind, .hash = "new"};
        struct plan plan = {&wish, 1};
        struct ledger_row row = cases[i].row;
        struct ledger_diff d;

        row.key = "k";
        row.kind = row.kind == WRITE_FIELD ? cases[i].kind : row.kind;
        ledger_diff(&plan, &row, row.hash ? 1 : 0, NOW, a, &d);
        assert_int_equal(d.count, 1);
        const struct ledger_item *item = &d.items[0];

        if (item->step != cases[i].step || item->rev != cases[i].rev || item->fresh != cases[i].fresh ||
            item->supersedes != cases[i].supersedes || item->look_first != cases[i].look_first ||
            item->due_us != cases[i].due_us ||
            (item->step != LEDGER_KEEP && item->fresh && !text_eq(item->base_hash, cases[i].base))) {
            fail_msg("%s: step=%d rev=%d fresh=%d supersedes=%d look=%d base=%s", cases[i].rule, (int)item->step,
                     (int)item->rev, item->fresh, item->supersedes, item->look_first,
                     item->base_hash ? item->base_hash : "-");
        }
        assert_int_equal(d.to_send, cases[i].step == LEDGER_SEND);
        assert_int_equal(d.obsolete_count, 0);
        assert_true(d.next_due_us == cases[i].due_us);
        if (item->step == LEDGER_SEND) { /* a new revision begins to count anew */
            assert_int_equal(item->attempts, item->fresh ? 0 : row.attempts);
        }
        arena_free(a);
    }
}

/* Fields, tags, assessment, disposition, notes; notes in the order in which things happened. */
static void test_order_of_calls(void **state)
{
    struct desired wishes[] = {
        {.key = "assessment/J", .kind = WRITE_ASSESSMENT, .hash = "h"},
        {.key = "disposition/J", .kind = WRITE_REJECT, .hash = "h"},
        {.key = "field/a", .kind = WRITE_FIELD, .hash = "h"},
        {.key = "field/b", .kind = WRITE_FIELD, .hash = "h"},
        {.key = "note/r/completed", .kind = WRITE_NOTE, .hash = "h", .stamp = {5, "a"}},
        {.key = "note/r/started", .kind = WRITE_NOTE, .hash = "h", .stamp = {1, "b"}},
        {.key = "tag/t", .kind = WRITE_TAG, .hash = "h"},
    };
    static const char *const wanted[] = {"field/a",       "field/b",        "tag/t",           "assessment/J",
                                         "disposition/J", "note/r/started", "note/r/completed"};
    struct plan plan = {wishes, ATS_COUNT(wishes)};
    struct arena *a = arena_new();
    struct ledger_diff d;

    (void)state;
    ledger_diff(&plan, NULL, 0, NOW, a, &d);
    assert_int_equal(d.count, ATS_COUNT(wanted));
    assert_int_equal(d.to_send, ATS_COUNT(wanted));
    for (size_t i = 0; i < d.count; i++) {
        assert_string_equal(d.items[i].wish->key, wanted[i]);
        assert_null(d.items[i].row);
    }
    arena_free(a);
}

/* Rows that nobody wants any more: what was not done becomes superseded, what was done stays. */
static void test_obsolete(void **state)
{
    static const struct ledger_row rows[] = {
        {.key = "a", .state = WRITE_PENDING, .hash = "h"},
        {.key = "b", .state = WRITE_SENDING, .hash = "h"},
        {.key = "c", .state = WRITE_APPLIED, .hash = "h"},
        {.key = "d", .state = WRITE_SKIPPED, .hash = "h"},
        {.key = "e", .state = WRITE_DEAD, .hash = "h"},
        {.key = "f", .state = WRITE_SUPERSEDED, .hash = "h"},
        {.key = "g", .state = WRITE_PENDING, .hash = "h", .next_attempt_us = NOW + 7},
        {.key = "h", .state = WRITE_PENDING, .hash = "h", .next_attempt_us = NOW + 3},
    };
    struct desired wishes[] = {{.key = "g", .hash = "h"}, {.key = "h", .hash = "h"}};
    struct plan plan = {wishes, ATS_COUNT(wishes)};
    struct arena *a = arena_new();
    struct ledger_diff d;

    (void)state;
    ledger_diff(&plan, rows, ATS_COUNT(rows), NOW, a, &d);
    assert_int_equal(d.obsolete_count, 3);
    assert_string_equal(d.obsolete[0]->key, "a");
    assert_string_equal(d.obsolete[1]->key, "b");
    assert_string_equal(d.obsolete[2]->key, "e");
    assert_int_equal(d.to_send, 0);
    assert_int_equal(d.next_due_us, NOW + 3);
    plan.count = 0;
    ledger_diff(&plan, NULL, 0, NOW, a, &d);
    assert_int_equal(d.count, 0);
    assert_true(d.next_due_us == INT64_MAX);
    arena_free(a);
}

/* A first value needs no intent; what follows another value, a note, and all else that is to be recorded do. */
static void test_intents(void **state)
{
    static const struct {
        const char *what;
        struct ledger_row row; /* of key "k"; without a hash: none */
        enum write_kind kind;
        bool is_wanted, needs;
    } intents[] = {
        {"a first value", {0}, WRITE_STAGE, true, false},
        {"a note", {0}, WRITE_NOTE, true, true},
        {"a value after another", {.hash = "old", .state = WRITE_APPLIED}, WRITE_STAGE, true, true},
        {"a value that is tried again",
         {.hash = "new", .state = WRITE_PENDING, .attempts = 1},
         WRITE_STAGE,
         true,
         true},
        {"a value that may have been sent", {.hash = "new", .state = WRITE_SENDING}, WRITE_STAGE, true, true},
        {"a value that never left",
         {.hash = "old", .base_hash = "new", .state = WRITE_PENDING},
         WRITE_STAGE,
         true,
         true},
        {"a value that was given up", {.hash = "new", .state = WRITE_SUPERSEDED}, WRITE_STAGE, true, true},
        {"a value that is there", {.hash = "new", .state = WRITE_APPLIED}, WRITE_STAGE, true, false},
        {"a first value that has waited", {.hash = "new", .state = WRITE_PENDING}, WRITE_STAGE, true, false},
        {"a first value in place of one that has waited",
         {.hash = "old", .state = WRITE_PENDING},
         WRITE_STAGE,
         true,
         false},
        {"a note that has waited", {.hash = "new", .state = WRITE_PENDING}, WRITE_NOTE, true, true},
        {"a value after another that has waited",
         {.hash = "new", .base_hash = "old", .state = WRITE_PENDING},
         WRITE_STAGE,
         true,
         true},
        {"a value that was perhaps sent, and waits",
         {.hash = "new", .state = WRITE_PENDING, .uncertain = true},
         WRITE_STAGE,
         true,
         true},
        {"a value whose attempts are counted anew",
         {.hash = "new", .state = WRITE_PENDING, .failed_before = true},
         WRITE_STAGE,
         true,
         true},
        {"a value that nobody wants any more", {.hash = "old", .state = WRITE_PENDING}, WRITE_STAGE, false, true},
        {"nothing", {0}, WRITE_STAGE, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(intents); i++) {
        struct desired wishes[] = {{.key = "a", .kind = WRITE_FIELD, .hash = "h"},
                                   {.key = "k", .kind = intents[i].kind, .hash = "new"}};
        struct plan plan = {wishes, intents[i].is_wanted ? 2 : 1};
        struct ledger_row row = intents[i].row;
        struct arena *a = arena_new();
        struct ledger_diff d;

        row.key = "k";
        row.kind = intents[i].kind;
        row.next_attempt_us = INT64_MIN;
        ledger_diff(&plan, &row, row.hash ? 1 : 0, NOW, a, &d);
        if (ledger_needs_intent(&d) != intents[i].needs) {
            fail_msg("%s: %s", intents[i].what, intents[i].needs ? "needs an intent" : "needs none");
        }
        arena_free(a);
    }
}

/* While the connector waits, what has no row yet gets one without an attempt, and nothing else changes. */
static void test_list_only(void **state)
{
    static const struct ledger_row rows[] = {
        {.key = "after", .rev = 4, .kind = WRITE_FIELD, .hash = "old", .state = WRITE_APPLIED},
        {.key = "again", .rev = 2, .kind = WRITE_FIELD, .hash = "new", .state = WRITE_PENDING, .attempts = 1},
        {.key = "back", .rev = 2, .kind = WRITE_FIELD, .hash = "old", .base_hash = "new", .state = WRITE_PENDING},
        {.key = "lost", .rev = 1, .kind = WRITE_NOTE, .hash = "new", .state = WRITE_SUPERSEDED, .attempts = 1},
        {.key = "there", .rev = 1, .kind = WRITE_FIELD, .hash = "new", .state = WRITE_APPLIED},
    };
    static const enum ledger_step wanted[] = {LEDGER_LIST, LEDGER_KEEP, LEDGER_RECORD, LEDGER_LIST,
                                              LEDGER_KEEP, LEDGER_KEEP, LEDGER_LIST};
    struct desired wishes[] = {
        {.key = "after", .kind = WRITE_FIELD, .hash = "new"}, {.key = "again", .kind = WRITE_FIELD, .hash = "new"},
        {.key = "back", .kind = WRITE_FIELD, .hash = "new"},  {.key = "first", .kind = WRITE_FIELD, .hash = "new"},
        {.key = "there", .kind = WRITE_FIELD, .hash = "new"}, {.key = "lost", .kind = WRITE_NOTE, .hash = "new"},
        {.key = "note", .kind = WRITE_NOTE, .hash = "new"},
    };
    struct desired sorted[ATS_COUNT(wishes)];
    struct plan plan = {sorted, ATS_COUNT(wishes)};
    struct arena *a = arena_new();
    struct ledger_diff d;

    (void)state;
    memcpy(sorted, wishes, sizeof wishes);
    sorted[4] = wishes[5];
    sorted[5] = wishes[6];
    sorted[6] = wishes[4];
    ledger_diff(&plan, rows, ATS_COUNT(rows), NOW, a, &d);
    assert_int_equal(d.to_send, 5);
    ledger_list_only(&d);
    assert_int_equal(d.to_send, 0);
    assert_int_equal(d.count, ATS_COUNT(wishes));
    for (size_t i = 0; i < d.count; i++) { /* fields by their keys, then notes */
        assert_string_equal(d.items[i].wish->key, wishes[i].key);
        if (d.items[i].step != wanted[i]) {
            fail_msg("%s: step %d", wishes[i].key, (int)d.items[i].step);
        }
    }
    assert_int_equal(d.items[0].rev, 5);
    assert_string_equal(d.items[0].base_hash, "old");
    assert_false(ledger_is_listed(&rows[1]));
    assert_true(ledger_is_listed(&rows[2]));
    assert_false(ledger_is_listed(&rows[4]));
    arena_free(a);
}

/* ---- from where a candidate is moved */

static const char *const from_contacted[] = {"Contacted"};
static const char *const from_none[] = {"none", "Sourced"};
static const struct passage from_anywhere = {.stage = "Contacted", .event_id = "started"};
static const struct passage of_the_same_event = {.stage = "Contacted", .event_id = "completed"};
static const struct passage from_some = {
    .stage = "Contacted", .only_from = from_none, .only_from_count = 2, .event_id = "started"};
static const struct passage elsewhere = {.stage = "Called", .event_id = "matched"};
static const struct passage after_elsewhere = {.stage = "Contacted",
                                               .only_from = (const char *const[]){"Called"},
                                               .only_from_count = 1,
                                               .event_id = "started",
                                               .before = &elsewhere};

static const struct {
    const char *name;
    const struct passage *before;
    struct ledger_row row; /* .rev 0: none */
    const char *only_from; /* "": anywhere */
} moves[] = {
    {"nothing came before", NULL, {0}, "Contacted"},
    {"the stage before was never written, and may be entered from anywhere", &from_anywhere, {0}, ""},
    {"no event told of the stage before by itself", &of_the_same_event, {0}, "Contacted"},
    {"never written, and from some stages only", &from_some, {0}, "Contacted none Sourced"},
    {"the run was in another stage before", &elsewhere, {0}, "Contacted"},
    {"two stages back", &after_elsewhere, {0}, ""},
    {"it was written: who has moved the candidate since counts",
     &from_anywhere,
     {.rev = 1, .hash = "contacted", .state = WRITE_APPLIED},
     "Contacted"},
    {"likewise, and this is tried again",
     &from_anywhere,
     {.rev = 2, .hash = "new", .base_hash = "contacted", .state = WRITE_PENDING, .attempts = 1},
     "Contacted"},
    {"likewise, and something else was tried in between",
     &from_anywhere,
     {.rev = 3, .hash = "other", .base_hash = "contacted", .state = WRITE_PENDING, .attempts = 1},
     "Contacted"},
    {"it was tried in vain",
     &from_anywhere,
     {.rev = 1, .hash = "contacted", .state = WRITE_PENDING, .attempts = 1},
     ""},
};

static void test_where_a_candidate_is_moved_from(void **state)
{
    struct arena *a = arena_new();

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(moves); i++) {
        struct desired wish = {.key = "disposition/1",
                               .kind = WRITE_STAGE,
                               .hash = "new",
                               .only_from = from_contacted,
                               .only_from_count = 1,
                               .stamp = {.event_id = "completed"},
                               .before = moves[i].before};
        struct plan plan = {.items = &wish, .count = 1};
        struct ledger_row row = moves[i].row;
        struct ledger_diff diff;
        const char *from = "";

        row.key = wish.key;
        row.kind = WRITE_STAGE;
        ledger_diff(&plan, &row, row.rev > 0 ? 1 : 0, NOW, a, &diff);
        for (size_t k = 0; k < diff.items[0].only_from_count; k++) {
            from = arena_printf(a, "%s%s%s", from, k > 0 ? " " : "", diff.items[0].only_from[k]);
        }
        if (strcmp(from, moves[i].only_from) != 0) {
            fail_msg("%s: only from \"%s\"", moves[i].name, from);
        }
    }
    arena_free(a);
}

/* What was skipped because of where the candidate stood is tried once more when it may be moved from elsewhere, too, and not otherwise. */
static void test_a_skipped_stage(void **state)
{
    static const char *const twice[] = {"Contacted", "Contacted"};
    static const char *const other_way[] = {"Sourced", "Contacted"};
    static const char *const one_way[] = {"Contacted", "Sourced"};
    static const struct {
        const char *name;
        const char *const *from_then, *const *from_now;
        size_t count_then, count_now;
        const struct passage *before_now;
        const char *operators; /* not NULL: the hash of the row */
        bool is_tried;
    } skips[] = {
        {"the same", from_contacted, from_contacted, 1, 1, NULL, NULL, false},
        {"an earlier event came later", from_contacted, from_contacted, 1, 1, &from_anywhere, NULL, true},
        {"likewise, of what is not among them", from_contacted, from_contacted, 1, 1, &elsewhere, NULL, false},
        {"the mapping has one more", from_contacted, one_way, 1, 2, NULL, NULL, true},
        {"in another order", one_way, other_way, 2, 2, NULL, NULL, false},
        {"one of them twice", from_contacted, twice, 1, 2, NULL, NULL, false},
        {"an operator has skipped it", from_contacted, from_contacted, 1, 1, &from_anywhere, "new", false},
        {"another value was skipped", from_contacted, from_contacted, 1, 1, NULL, "old", true},
    };
    struct arena *a = arena_new();

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(skips); i++) {
        struct desired wish = {.key = "disposition/1",
                               .kind = WRITE_STAGE,
                               .hash = "new",
                               .only_from = skips[i].from_then,
                               .only_from_count = skips[i].count_then,
                               .stamp = {.event_id = "completed"}};
        struct ledger_row row = {.key = wish.key, .rev = 1, .kind = WRITE_STAGE, .state = WRITE_SKIPPED, .attempts = 1};
        struct plan plan = {.items = &wish, .count = 1};
        char hash[LEDGER_HASH_BYTES];
        struct ledger_diff diff;

        ledger_diff(&plan, NULL, 0, NOW, a, &diff);
        ledger_skip_hash(&diff.items[0], hash);
        row.hash = skips[i].operators ? skips[i].operators : hash;
        wish.only_from = skips[i].from_now;
        wish.only_from_count = skips[i].count_now;
        wish.before = skips[i].before_now;
        ledger_diff(&plan, &row, 1, NOW, a, &diff);
        if ((diff.items[0].step == LEDGER_SEND) != skips[i].is_tried ||
            diff.items[0].rev != (skips[i].is_tried ? 2 : 1)) {
            fail_msg("%s: step %d, revision %d", skips[i].name, diff.items[0].step, (int)diff.items[0].rev);
        }
    }
    arena_free(a);
}

/* A note that another connector wrote is looked for, because that may have been the same ATS; a value is not, and what has its row here has its own past. */
static void test_notes_written_elsewhere(void **state)
{
    static const char *const keys[] = {"a", "b", "c", "e"};
    struct desired wishes[] = {{.key = "a", .kind = WRITE_NOTE, .hash = "x"},
                               {.key = "b", .kind = WRITE_FIELD, .hash = "x"},
                               {.key = "c", .kind = WRITE_NOTE, .hash = "x"},
                               {.key = "d", .kind = WRITE_NOTE, .hash = "x"},
                               {.key = "e", .kind = WRITE_NOTE, .hash = "x"}};
    static const struct ledger_row rows[] = {
        {.key = "c",
         .rev = 1,
         .kind = WRITE_NOTE,
         .hash = "x",
         .state = WRITE_PENDING,
         .attempts = 1,
         .failed_before = true},
        {.key = "e", .rev = 1, .kind = WRITE_NOTE, .hash = "x", .state = WRITE_PENDING}};
    struct plan plan = {.items = wishes, .count = ATS_COUNT(wishes)};
    struct arena *a = arena_new();
    struct ledger_diff diff;
    const char *looked = "";

    (void)state;
    for (int i = 0; i < 2; i++) {
        ledger_diff(&plan, rows, ATS_COUNT(rows), NOW, a, &diff);
        ledger_noted_elsewhere(&diff, keys, i == 0 ? 0 : ATS_COUNT(keys));
        looked = "";
        for (size_t k = 0; k < diff.count; k++) {
            assert_int_equal(diff.items[k].step, LEDGER_SEND);
            looked = diff.items[k].look_first ? arena_printf(a, "%s%s", looked, diff.items[k].wish->key) : looked;
        }
        assert_string_equal(looked, i == 0 ? "" : "ae");
    }
    arena_free(a);
}

static void test_overlay(void **state)
{
    static const struct ledger_row rows[] = {
        {.key = "b", .rev = 2, .hash = "old", .state = WRITE_APPLIED},
        {.key = "d",
         .rev = 5,
         .hash = "same",
         .base_hash = "base",
         .state = WRITE_PENDING,
         .attempts = 3,
         .first_tried_us = 7},
        {.key = "e", .rev = 1, .hash = "else", .state = WRITE_APPLIED},
    };
    static const char odd_key[] = "a\n1 tag x 1:y\n";
    struct arena *arena = arena_new();
    struct ledger_row *all = NULL;
    size_t count = 0;
    struct buf list;

    (void)state;
    buf_init(&list, 1000);
    ledger_sending_add(&list, "d", 5, WRITE_FIELD, "same");
    ledger_sending_add(&list, "b", 3, WRITE_STAGE, "new");
    ledger_sending_add(&list, odd_key, 1, WRITE_TAG, "h");
    assert_int_equal(ledger_overlay(rows, ATS_COUNT(rows), buf_text(&list), arena, &all, &count), ST_OK);
    assert_int_equal(count, 4);
    assert_string_equal(all[0].key, odd_key);
    assert_true(all[0].unrecorded && all[0].stored == NULL && all[0].kind == WRITE_TAG && all[0].rev == 1);
    assert_string_equal(all[1].key, "b");
    assert_true(all[1].unrecorded && all[1].stored == &rows[0] && all[1].rev == 3 && all[1].kind == WRITE_STAGE);
    assert_int_equal(all[1].state, WRITE_SENDING);
    assert_string_equal(all[1].hash, "new");
    assert_null(all[1].base_hash);
    assert_string_equal(all[2].key, "d"); /* a repetition: what is known of the earlier attempts stays */
    assert_true(all[2].unrecorded && all[2].stored == &rows[1] && all[2].attempts == 3 && all[2].first_tried_us == 7);
    assert_string_equal(all[2].base_hash, "base");
    assert_int_equal(all[2].state, WRITE_SENDING);
    assert_string_equal(all[3].key, "e");
    assert_true(!all[3].unrecorded && all[3].state == WRITE_APPLIED);

    assert_int_equal(ledger_overlay(rows, ATS_COUNT(rows), NULL, arena, &all, &count), ST_OK);
    assert_int_equal(count, ATS_COUNT(rows));
    assert_false(all[0].unrecorded || all[1].unrecorded || all[2].unrecorded);
    buf_free(&list);
    arena_free(arena);
}

static void test_foreign_lists(void **state)
{
    static const char *const lists[] = {"x",
                                        "1 field h 1:a",    /* no end of the line */
                                        "1 field h 2:a\n",  /* a shorter key */
                                        "1 field h 1:ab\n", /* a longer one */
                                        "0 field h 1:a\n",
                                        "1 nothing h 1:a\n",
                                        "1 field h -1:a\n",
                                        "1 field h 1:a\nrest"};
    struct arena *arena = arena_new();
    struct ledger_row *all = NULL;
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(lists); i++) {
        if (ledger_overlay(NULL, 0, lists[i], arena, &all, &count) != ST_INVALID) {
            fail_msg("taken for a list: %s", lists[i]);
        }
    }
    arena_free(arena);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_order_of_calls),
        cmocka_unit_test(test_obsolete),
        cmocka_unit_test(test_intents),
        cmocka_unit_test(test_list_only),
        cmocka_unit_test(test_where_a_candidate_is_moved_from),
        cmocka_unit_test(test_a_skipped_stage),
        cmocka_unit_test(test_notes_written_elsewhere),
        cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_foreign_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
