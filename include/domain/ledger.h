/*
 * ledger - diff: what is wanted against what was done, and so what is to be sent now.
 *
 * The ledger holds revisions: a row is one value that was wanted under a key, the newest row of a key is its live one. Set writes: a
 * value that is there already is not sent, a value that was not sent yet is superseded by a newer one. Append writes (notes): exactly one
 * per key, whatever happens to the text afterwards.
 *
 * The intent to make a call is durable before the call: of an append write as its row ("sending"), of set writes as a list in the candidate's own row
 * (ledger_sending_add), which costs one small update instead of an insert and an update each. What is in that list after a crash may have been done.
 * First values need no intent (ledger_needs_intent).
 *
 * Pure. What is returned lives in the arena and points to the given rows and wishes.
 */
#ifndef ATSYNC_DOMAIN_LEDGER_H
#define ATSYNC_DOMAIN_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "domain/plan.h"

enum write_state {
    WRITE_PENDING, /* wanted, not done; tried before or not */
    WRITE_SENDING, /* its call was about to be made: after a crash, perhaps done */
    WRITE_APPLIED, /* the ATS has it */
    WRITE_SKIPPED, /* decided not to do it (only_from, an operator): not tried again for this value, unless it may be moved from elsewhere, too */
    WRITE_DEAD,    /* cannot be done; somebody has to look */
    WRITE_SUPERSEDED, /* no longer wanted before it was done */
};
enum { WRITE_STATE_COUNT = 6 };
const char *write_state_name(enum write_state s); /* pending sending applied skipped dead superseded */
bool write_state_parse(const char *name, enum write_state *ret);

struct ledger_row { /* the live row of a key, as stored */
    const char *key;
    int64_t rev;
    enum write_kind kind;
    const char *hash; /* of the value of this row; of a skipped one by ledger_skip_hash, if that says more */
    const char
        *base_hash; /* of what the ATS is known to hold: the last applied value of the key; NULL: nothing of ours */
    enum write_state state;
    bool uncertain;     /* a call was made whose outcome is not known */
    bool failed_before; /* also when its attempts are counted anew since (atsyncctl retry) */
    int64_t attempts;
    int64_t first_tried_us;          /* INT64_MIN: never */
    int64_t next_attempt_us;         /* INT64_MIN: at once */
    bool unrecorded;                 /* known from the list of what was being sent, and perhaps not in the ledger */
    const struct ledger_row *stored; /* unrecorded: the live row of this key in the ledger; NULL: none */
};

enum ledger_step {
    LEDGER_KEEP,   /* nothing to do: there already, dead, skipped, or not due yet */
    LEDGER_SEND,   /* make the call */
    LEDGER_RECORD, /* no call, but a new row says that the value is there (it never left) */
    LEDGER_LIST,   /* no call now, but a new row says that it is wanted */
};

struct ledger_item { /* what to do about one wish */
    const struct desired *wish;
    const struct ledger_row *row; /* the live row, or NULL */
    enum ledger_step step;
    int64_t rev;      /* of the row that is to hold the wish: row->rev, or the next one */
    bool fresh;       /* a new revision has to be inserted (and row, if any, stops being live) */
    bool supersedes;  /* row was wanted and not done: it becomes superseded */
    bool look_first;  /* append write with an uncertain past: look for the marker before repeating */
    int64_t attempts; /* made before, for this revision */
    int64_t first_tried_us;
    int64_t due_us; /* LEDGER_KEEP of a pending row: when it is due; else INT64_MAX */
    const char *base_hash;
    /*
     * Stages: where the candidate may stand for it to be moved; 0: anywhere. More than the wish's own where the run passed through one of those and nothing was
     * written of that, because all of it became known at once: what led there leads on, so that it does not matter how many events are worked on together.
     */
    const char *const *only_from;
    size_t only_from_count;
};

struct ledger_diff {
    struct ledger_item
        *items; /* one per wish, in the order in which calls are made: fields, tags, assessment, disposition, note */
    size_t count;
    const struct ledger_row **obsolete; /* live rows, not done, that nobody wants any more: to be superseded */
    size_t obsolete_count;
    size_t to_send;
    int64_t next_due_us; /* the earliest due_us; INT64_MAX if nothing waits */
};

/*
 * What the row of a stage that was skipped has for a hash: also from where it might have been entered. An earlier event that comes later may say that the run passed
 * through one more stage, and then it is another question; what an operator has skipped has the hash of its value, and stays.
 */
enum { LEDGER_HASH_BYTES = 33 };
void ledger_skip_hash(const struct ledger_item *item, char ret[LEDGER_HASH_BYTES]);

/* One more set write that is going to be sent. key: plain text. */
void ledger_sending_add(struct buf *list, const char *key, int64_t rev, enum write_kind kind, const char *hash);
/*
 * The live rows as they are after what was being sent (list: as made by ledger_sending_add; NULL or "": nothing) is counted in: such a row is
 * WRITE_SENDING. rows by key; *ret likewise, in the arena. ST_INVALID: nobody of us wrote that list.
 */
int ledger_overlay(const struct ledger_row *rows, size_t row_count, const char *list, struct arena *arena,
                   struct ledger_row **ret, size_t *ret_count) ATS_MUSTCHECK;

/* rows: all live rows of the candidate at this connector, by key. now_us: the database's clock. */
void ledger_diff(const struct plan *plan, const struct ledger_row *rows, size_t row_count, int64_t now_us,
                 struct arena *arena, struct ledger_diff *ret);

/*
 * Notes that were written, or may have been, under another connector: it may be the same ATS, under another name than now. They are looked for before they are
 * written for the first time. keys: in their order.
 */
void ledger_noted_elsewhere(struct ledger_diff *diff, const char *const *keys, size_t count);
/*
 * Of a connector that waits: no call is made; what would be sent for the first time gets a row without an attempt (LEDGER_LIST), and all else stays. Also a
 * note that was given up in the middle of a call: a new row of it would not say that it has to be looked for.
 */
void ledger_list_only(struct ledger_diff *diff);
/* Whether that is all that is known of this row. */
bool ledger_is_listed(const struct ledger_row *row);

/*
 * Whether something has to be durable before the calls of this diff are made. Not of set writes under keys that have no row, or one without an attempt and
 * without a value before it (LEDGER_LIST): should what became of them be forgotten, it is still so, and whatever is wanted then is sent, so that it does not
 * matter what the ATS was told before. A value that follows another needs its intent, because the row before it says what the ATS holds; a note needs it,
 * because it must not be written twice. What else the diff asks to record (superseded rows, values that never left) counts as an intent.
 */
bool ledger_needs_intent(const struct ledger_diff *diff);

#endif
