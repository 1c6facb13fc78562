/*
 * The lease and ledger protocol of one candidate: several daemons, crashes, lost answers, leases that end too early.
 * packaging/doc/protocol.md says what this proves and what it takes for granted; run.sh runs it.
 *
 * One step is one transaction, one request, or the ATS handling one request. Time does not appear: a lease may end
 * whenever the assumptions allow it, which covers every speed of every part.
 *
 * The candidate has two writes: a set (the stage, of which the latest event wants one of two) and an append (a note).
 * Bounds: WORKERS daemons, EVENTS events, CRASHES kills, LOSSES requests that do not end well, EXPIRIES leases that end
 * although their daemon lives. A daemon started again is the same process without its memory.
 *
 * Assumptions; the word in brackets takes one away:
 *   A daemon begins no request once its lease may have ended.                                   [SEND_AFTER_LEASE]
 *   When a lease has ended, the requests made under it are settled: done, or never to be done.  [LATE_AFTER_LEASE]
 *   So is a request whose answer a daemon no longer waits for.                                  [LATE_AFTER_TIMEOUT]
 *
 * Mutations, each a mistake in the protocol: NO_LOOK NO_INTENT NO_INTENT_OF_SETS NO_LEASE_GUARD NO_GUARD_AT_INTENT NO_VERSION_CHECK
 * LATE_VERSION TRUST_UNCERTAIN. CONSEQUENCES leaves out the checks that name a breach itself, so that what follows from
 * it is found.
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef EVENTS
#define EVENTS 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef LOSSES
#define LOSSES 2
#endif
#ifndef EXPIRIES
#define EXPIRIES 1
#endif

#define NOBODY WORKERS
#define UNKNOWN 0
#define NOTE_WANTED(n) ((n) > EVENTS / 2) /* not by the first of several events, so that there is a value without a note */
#define WANTED(n) (1 + (n) % 2) /* what the n-th event says: to and fro, so that an old value is wanted again */

/* ---- the database: the candidate's row in the queue. due_at is null, past, future with an owner, future without. */
mtype = { IDLE, DUE, LEASED, LATER };
mtype queue = IDLE;
byte version;  /* counts the stored events */
byte lease_no; /* raised by each claim */
byte owner = NOBODY;

/* ---- the database: the ledger */
mtype = { NONE, PENDING, SENDING, APPLIED };
mtype stage_state = NONE;
byte stage_value;
byte stage_base;      /* what the ATS is known to hold as long as the row was not tried */
bool stage_tried;     /* attempts > 0 */
bool stage_uncertain; /* tried, and nobody knows whether it was done */
mtype note_state = NONE;
bool note_uncertain;

/* ---- the ATS */
byte ats_stage = UNKNOWN;
byte ats_notes;

/* ---- the network: of each daemon the request that it waits for, and one that it no longer waits for */
mtype = { NOTHING, PUT_STAGE, POST_NOTE };
mtype = { NO_ANSWER, OK, LOST, REFUSED };
mtype request[WORKERS] = NOTHING;
mtype answer[WORKERS] = NO_ANSWER;
mtype orphan[WORKERS] = NOTHING;
byte request_value[WORKERS];
byte orphan_value[WORKERS];

byte under[WORKERS]; /* the number of the lease that the daemon believes to work under; 0: none */

/* ---- what is left of the bounds */
byte crashes = CRASHES;
byte losses = LOSSES;
byte expiries = EXPIRIES;

#define SETTLED(w) (request[w] == NOTHING && orphan[w] == NOTHING)
#define HOLDS_LEASE(w) (queue == LEASED && owner == (w) && lease_no == under[w])

#ifdef SEND_AFTER_LEASE
#define MAY_SEND(w) true
#else
#define MAY_SEND(w) HOLDS_LEASE(w)
#endif
#ifdef LATE_AFTER_LEASE
#define LEASE_MAY_END true
#else
#define LEASE_MAY_END SETTLED(owner)
#endif
#ifdef NO_LEASE_GUARD
#define IS_OURS(w) true
#else
#define IS_OURS(w) (lease_no == under[w])
#endif
#ifdef NO_GUARD_AT_INTENT
#define IS_OURS_AT_INTENT(w) true
#else
#define IS_OURS_AT_INTENT(w) IS_OURS(w)
#endif

/* domain/ledger.c, ledger_needs_intent */
#define NEEDS_NO_INTENT (send_stage && !send_note && stage_state == NONE)

inline carry_out(what, value)
{
    if
    :: what == PUT_STAGE -> ats_stage = value
    :: what == POST_NOTE ->
        assert(ats_notes == 0); /* PROMISE: no note twice */
        ats_notes++
    fi
}

/* The way to the ATS and back: a request or its answer may be lost, and the ATS may refuse. */
proctype network(byte w)
{
end:
    do
    :: atomic {
        request[w] != NOTHING ->
        if
        :: carry_out(request[w], request_value[w]); answer[w] = OK
        :: losses > 0 -> losses--; carry_out(request[w], request_value[w]); answer[w] = LOST
        :: losses > 0 -> losses--; answer[w] = LOST
        :: losses > 0 -> losses--; answer[w] = REFUSED
        fi;
        request[w] = NOTHING;
        request_value[w] = 0
    }
    :: atomic {
        orphan[w] != NOTHING ->
        if
        :: carry_out(orphan[w], orphan_value[w])
        :: skip
        fi;
        orphan[w] = NOTHING;
        orphan_value[w] = 0
    }
    od
}

/* Time: pauses pass, leases end. That of a daemon which lives and works ends early as often as EXPIRIES says. */
active proctype clock()
{
end:
    do
    :: atomic { queue == LATER -> queue = DUE }
    :: atomic { queue == LEASED && under[owner] != lease_no && LEASE_MAY_END -> queue = DUE }
    :: atomic { queue == LEASED && under[owner] == lease_no && LEASE_MAY_END && expiries > 0 ->
        expiries--;
        queue = DUE
    }
    od
}

/* sql/stmt/ingest.sql */
active proctype popp()
{
    do
    :: atomic {
        version < EVENTS ->
        version++;
        if
        :: queue == IDLE -> queue = DUE
        :: else -> skip /* it is looked at again at its release, or when its pause is over */
        fi
    }
    :: version == EVENTS -> break
    od
}

inline send(what, value)
{
#ifndef CONSEQUENCES
    other = 0;
    do
    :: other < WORKERS ->
        assert(SETTLED(other)); /* PROMISE: one request at a time */
        other++
    :: else -> break
    od;
    other = 0;
#endif
    request[w] = what;
    request_value[w] = value;
    answer[w] = NO_ANSWER
}

/* At any step the daemon may be killed. */
#define CRASH \
    atomic { crashes > 0 && (orphan[w] == NOTHING || request[w] == NOTHING) -> crashes--; goto killed }

/* Waits for the answer, or (if that is allowed to be a mistake) goes on without. */
inline receive(ret)
{
    if
    :: atomic { answer[w] != NO_ANSWER -> ret = answer[w]; answer[w] = NO_ANSWER }
#ifdef LATE_AFTER_TIMEOUT
    :: atomic { request[w] != NOTHING && orphan[w] == NOTHING && losses > 0 ->
        losses--;
        orphan[w] = request[w];
        orphan_value[w] = request_value[w];
        request[w] = NOTHING;
        request_value[w] = 0;
        ret = LOST
    }
#endif
    :: CRASH
    fi
}

/* What a daemon knows of a candidate ends with its work on it. */
inline forget()
{
    under[w] = 0;
    my_version = 0;
    wanted = 0;
    base = 0;
    send_stage = false;
    send_note = false;
    as_known = false;
    look = false;
    tried_before = false;
    goes_ahead = false;
    stage_result = NOTHING;
    note_result = NOTHING
}

inline record_intents()
{
#ifndef CONSEQUENCES
    assert(lease_no == under[w]); /* PROMISE: a stale daemon records nothing */
#endif
#ifndef NO_INTENT
    if
#ifndef NO_INTENT_OF_SETS
    :: send_stage ->
        stage_uncertain = (stage_state != NONE && stage_value == wanted &&
            (stage_uncertain || stage_state == SENDING));
        stage_state = SENDING;
        stage_value = wanted;
        stage_base = base;
        stage_tried = true
#endif
    :: else -> skip
    fi;
    if
    :: send_note ->
        note_uncertain = (note_uncertain || note_state == SENDING);
        note_state = SENDING
    :: else -> skip
    fi
#else
    skip
#endif
}

/* sql/stmt/record_candidate.sql, in the transaction of the record that it ends */
inline release()
{
    owner = NOBODY;
    if
    :: stage_state == PENDING || note_state == PENDING -> queue = LATER
#ifdef NO_VERSION_CHECK
    :: else -> queue = IDLE
#else
    :: else -> queue = (version > my_version -> DUE : IDLE)
#endif
    fi;
    forget()
}

proctype worker(byte w)
{
    byte my_version, wanted, base, other;
    bool send_stage, send_note, as_known, look, tried_before, goes_ahead;
    mtype stage_result = NOTHING;
    mtype note_result = NOTHING;

idle:
end:
    /* sql/stmt/claim.sql */
    atomic {
        queue == DUE ->
        queue = LEASED;
        owner = w;
        lease_no++;
        under[w] = lease_no;
        my_version = version
    }
    /* store_load, plan_make, ledger_diff */
    if
    :: atomic {
        true ->
        wanted = WANTED(version);
        if
        :: stage_state == NONE -> send_stage = true
        :: stage_state != NONE && stage_value != wanted ->
            if
            :: stage_state == APPLIED -> base = stage_value
#ifdef TRUST_UNCERTAIN
            :: stage_state != APPLIED -> base = stage_base
#else
            :: stage_state != APPLIED ->
                base = (stage_state == SENDING || stage_uncertain || stage_tried -> UNKNOWN : stage_base)
#endif
            fi;
            as_known = (base == wanted);
            send_stage = !as_known
        :: stage_value == wanted && (stage_state == PENDING || stage_state == SENDING) ->
            base = stage_base;
            tried_before = stage_tried;
            send_stage = true
        :: stage_value == wanted && stage_state == APPLIED -> skip
        fi;
        if
        :: note_state == NONE -> send_note = NOTE_WANTED(version)
        :: note_state == PENDING -> send_note = true; look = note_uncertain
        :: note_state == SENDING -> send_note = true; look = true
        :: note_state == APPLIED -> skip
        fi;
        goes_ahead = NEEDS_NO_INTENT;
#ifdef NO_LOOK
        look = false
#endif
    }
    :: CRASH
    fi;
    /* store_record: the intents; what needs no request is released with them. Who needs none may go ahead, and is recorded later or with the results. */
    if
    :: atomic { goes_ahead -> skip }
    :: atomic { !IS_OURS_AT_INTENT(w) -> forget(); goto idle }
    :: atomic {
        IS_OURS_AT_INTENT(w) ->
        goes_ahead = false;
#ifdef LATE_VERSION
        my_version = version;
#endif
        record_intents();
        if
        :: as_known ->
            stage_uncertain = false;
            stage_state = APPLIED;
            stage_value = wanted;
            stage_base = base;
            stage_tried = false
        :: else -> skip
        fi;
        if
        :: !send_stage && !send_note -> release(); goto idle
        :: else -> skip
        fi
    }
    :: CRASH
    fi;
    /* the calls: first what changes, last the note that tells of it */
    if
    :: send_stage ->
        if
        :: atomic { MAY_SEND(w) -> send(PUT_STAGE, wanted) }
        :: atomic { !MAY_SEND(w) -> goto record }
        :: CRASH
        fi;
        if
        :: atomic { goes_ahead && IS_OURS_AT_INTENT(w) -> goes_ahead = false; record_intents() }
        :: skip
        fi;
        receive(stage_result);
        if
        :: true -> skip
        :: stage_result != OK -> goto record /* throttled: the others are left for later */
        :: CRASH
        fi
    :: else -> skip
    fi;
    if
    :: send_note && look ->
        if
        :: atomic { MAY_SEND(w) && ats_notes > 0 -> note_result = OK; goto record }
        :: atomic { MAY_SEND(w) && ats_notes == 0 -> skip }
        :: atomic { MAY_SEND(w) && losses > 0 -> losses--; note_result = LOST; goto record }
        :: atomic { !MAY_SEND(w) -> goto record }
        :: CRASH
        fi
    :: else -> skip
    fi;
    if
    :: send_note ->
        if
        :: atomic { MAY_SEND(w) -> look = false; send(POST_NOTE, 0) }
        :: atomic { !MAY_SEND(w) -> goto record }
        :: CRASH
        fi;
        receive(note_result)
    :: else -> skip
    fi;
record:
    /* store_record: the results, and the candidate's release */
    if
    :: atomic { !IS_OURS(w) -> forget(); goto idle }
    :: atomic {
        IS_OURS(w) ->
#ifndef CONSEQUENCES
        assert(lease_no == under[w]);
#endif
        if
        :: !send_stage -> skip
        :: send_stage ->
            stage_value = wanted;
            stage_base = base;
            stage_state = (stage_result == OK -> APPLIED : PENDING);
            stage_uncertain = (stage_result == LOST);
            stage_tried = (stage_result == NOTHING -> tried_before : true)
        fi;
        if
        :: !send_note -> skip
        :: send_note ->
            note_state = (note_result == OK -> APPLIED : PENDING);
            note_uncertain = (note_result == LOST || (note_result != OK && look))
        fi;
        release();
        goto idle
    }
    :: CRASH
    fi;
killed:
    atomic {
        forget();
        answer[w] = NO_ANSWER;
        if
        :: request[w] != NOTHING ->
            orphan[w] = request[w];
            orphan_value[w] = request_value[w];
            request[w] = NOTHING;
            request_value[w] = 0
        :: else -> skip
        fi;
        goto idle
    }
}

init
{
    byte n;

    atomic {
        do
        :: n < WORKERS -> run network(n); run worker(n); n++
        :: else -> break
        od
    }
    /* PROMISE: whatever happened, it ends with the ATS as the last event wants it, known to the ledger, nothing due */
    timeout ->
        assert(version == EVENTS && queue == IDLE && owner == NOBODY);
        assert(ats_stage == WANTED(EVENTS) && stage_state == APPLIED && stage_value == WANTED(EVENTS));
        assert(ats_notes == 1 && note_state == APPLIED)
}
