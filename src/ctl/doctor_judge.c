/* The rules of the doctor, and how its findings are kept. */
#include <inttypes.h>

#include "base/mem.h"
#include "base/text.h"
#include "ctl/doctor.h"
#include "lib/crypto.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define MINUTE INT64_C(60)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/* ---- findings */

void diagnose(struct diagnoses *d, enum severity severity, const char *check, char *what, char *why, char *todo)
{
    d->items = mem_grow(d->items, d->count + 1, sizeof *d->items);
    d->items[d->count++] =
        (struct diagnosis){.severity = severity, .check = check, .what = what, .why = why, .todo = todo};
}

void diagnoses_sort(struct diagnoses *d)
{
    struct diagnosis *sorted = mem_array(d->count + 1, sizeof *sorted);
    size_t n = 0;

    for (int s = SEVERITY_ERROR; s >= SEVERITY_INFO; s--) {
        for (size_t i = 0; i < d->count; i++) {
            if (d->items[i].severity == (enum severity)s) {
                sorted[n++] = d->items[i];
            }
        }
    }
    mem_free(d->items);
    d->items = sorted;
}

void diagnoses_clear(struct diagnoses *d)
{
    for (size_t i = 0; i < d->count; i++) {
        mem_free(d->items[i].what);
        mem_free(d->items[i].why);
        mem_free(d->items[i].todo);
    }
    mem_free(d->items);
    *d = (struct diagnoses){.count = 0};
}

const char *severity_name(enum severity s)
{
    static const char *const names[] = {
        [SEVERITY_INFO] = "info", [SEVERITY_WARNING] = "warning", [SEVERITY_ERROR] = "error"};

    return names[s];
}

/* ---- figures */

struct span_text span_text(int64_t seconds)
{
    struct span_text t;

    if (seconds < 2 * MINUTE) {
        (void)snprintf(t.s, sizeof t.s, "%" PRId64 " s", seconds);
    } else if (seconds < 2 * HOUR) {
        (void)snprintf(t.s, sizeof t.s, "%" PRId64 " min", seconds / MINUTE);
    } else if (seconds < 2 * DAY) {
        int64_t minutes = seconds / MINUTE % 60;

        (void)snprintf(t.s, sizeof t.s, minutes > 0 ? "%" PRId64 " h %" PRId64 " min" : "%" PRId64 " h", seconds / HOUR,
                       minutes);
    } else {
        (void)snprintf(t.s, sizeof t.s, "%" PRId64 " days", seconds / DAY);
    }
    return t;
}

struct span_text bytes_text(int64_t bytes)
{
    struct span_text t;

    if (bytes < MIB) {
        (void)snprintf(t.s, sizeof t.s, "%" PRId64 " KiB", bytes / KIB);
    } else if (bytes < GIB) {
        (void)snprintf(t.s, sizeof t.s, "%" PRId64 " MiB", bytes / MIB);
    } else {
        (void)snprintf(t.s, sizeof t.s, "%.1f GiB", (double)bytes / (double)GIB);
    }
    return t;
}

/* -1 where it is null or missing. */
static int64_t number(const struct json *row, const char *member)
{
    int64_t n = -1;

    return json_get_i64(row, member, &n) ? n : -1;
}

static const char *text(const struct json *row, const char *member)
{
    const char *s = json_get_str(row, member);

    return s ? s : "";
}

/* The worst severity whose bound is reached; false if none is. */
static bool reaches(int64_t n, int64_t warning, int64_t error, enum severity *ret)
{
    if (n < warning) {
        return false;
    }
    *ret = n >= error ? SEVERITY_ERROR : SEVERITY_WARNING;
    return true;
}

/* ---- the server */

void judge_durability(struct diagnoses *d, const struct json *server)
{
    static const char why[] =
        "An event is answered with 200 when PostgreSQL says that it is on disk. With this setting it "
        "is not: a crash loses events that the sender believes delivered.";

    if (json_get(server, "fsync") && !json_get_bool(server, "fsync")) {
        diagnose(d, SEVERITY_ERROR, "durability", mem_strdup("fsync is off."), mem_strdup(why),
                 mem_strdup("alter system set fsync = on, then reload the server."));
    }
    if (json_get(server, "full_page_writes") && !json_get_bool(server, "full_page_writes")) {
        diagnose(d, SEVERITY_ERROR, "durability", mem_strdup("full_page_writes is off."),
                 mem_strdup("A crash in the middle of a page can leave the database damaged, unless the file system "
                            "writes pages as a whole."),
                 mem_strdup("alter system set full_page_writes = on, then reload the server."));
    }
    if (strcmp(text(server, "synchronous_commit"), "off") == 0) {
        diagnose(d, SEVERITY_ERROR, "durability", mem_strdup("synchronous_commit is off for the daemon's role."),
                 mem_strdup(why),
                 mem_printf("Take it away where it was set: alter role %s reset synchronous_commit, alter database, or "
                            "postgresql.conf.",
                            text(server, "role")));
    }
}

void judge_server(struct diagnoses *d, const struct json *server)
{
    int64_t used = number(server, "connections");
    int64_t most = number(server, "connections_max");
    int64_t age = number(server, "transaction_age");
    enum severity severity;

    if (strcmp(text(server, "encoding"), "UTF8") != 0) {
        diagnose(d, SEVERITY_ERROR, "database",
                 mem_printf("The encoding of the database is %s, not UTF8.", text(server, "encoding")),
                 mem_strdup("Names and answers in other scripts cannot be stored: their events fail."),
                 mem_strdup("Make another database (atsyncctl setup with another dbname) and move what is needed."));
    }
    if (most > 0 && reaches(used * 100 / most, 80, 95, &severity)) {
        diagnose(
            d, severity, "connections",
            mem_printf("%" PRId64 " of the server's %" PRId64 " connections are used.", used, most),
            mem_strdup("When none is left, events are answered with 503 and nothing is delivered."),
            mem_strdup("Raise max_connections, end clients that are not needed, or put a pooler before the others."));
    }
    if (reaches(age, 1000000000, 1600000000, &severity)) {
        diagnose(
            d, severity, "transactions",
            mem_printf("The oldest row of the database is %" PRId64 " million transactions old.", age / 1000000),
            mem_strdup("At about 2,100 million PostgreSQL refuses to write at all; autovacuum has not been able to "
                       "prevent it so far."),
            mem_strdup("End what holds the horizon (see there), then vacuum (freeze) as the owner of each table."));
    }
}

void judge_autovacuum(struct diagnoses *d, const struct json *server, const struct json *tables)
{
    static const char why[] = "The queue is updated all the time. Without autovacuum its dead rows stay: tables and "
                              "indexes grow, and claiming gets slower.";

    if (json_get(server, "autovacuum") && !json_get_bool(server, "autovacuum")) {
        diagnose(d, SEVERITY_ERROR, "autovacuum", mem_strdup("autovacuum is off."), mem_strdup(why),
                 mem_strdup("alter system set autovacuum = on, then reload the server."));
    } else if (json_get(server, "track_counts") && !json_get_bool(server, "track_counts")) {
        diagnose(d, SEVERITY_ERROR, "autovacuum",
                 mem_strdup("track_counts is off, so autovacuum does not know what to do."), mem_strdup(why),
                 mem_strdup("alter system set track_counts = on, then reload the server."));
    }
    for (const struct json *t = json_first(tables); t; t = json_next(t)) {
        int64_t live = number(t, "live"), dead = number(t, "dead"), since = number(t, "since_vacuum_seconds");

        if (json_get_bool(t, "autovacuum_off")) {
            diagnose(d, SEVERITY_ERROR, "autovacuum",
                     mem_printf("autovacuum is off for the table atsync.%s.", text(t, "name")), mem_strdup(why),
                     mem_printf("alter table atsync.%s reset (autovacuum_enabled)", text(t, "name")));
        } else if (dead >= 50000 && dead > live && (since < 0 || since > HOUR)) {
            char *since_text = since < 0 ? mem_strdup("never") : mem_printf("%s ago", span_text(since).s);

            diagnose(
                d, SEVERITY_WARNING, "autovacuum",
                mem_printf("The table atsync.%s has %" PRId64 " dead rows and %" PRId64
                           " live ones; it was vacuumed last: %s.",
                           text(t, "name"), dead, live, since_text),
                mem_strdup("Autovacuum does not keep up, or something holds the horizon (see there)."),
                mem_printf("vacuum (verbose) atsync.%s tells whether rows cannot be removed yet. If they can: raise "
                           "autovacuum_max_workers or autovacuum_vacuum_cost_limit.",
                           text(t, "name")));
            mem_free(since_text);
        }
    }
}

/* ---- who holds the horizon */

/* "session 4711 (role reporting, psql, idle in transaction)" */
static char *name_holder(const struct json *h)
{
    const char *const parts[] = {text(h, "role"), text(h, "application"), text(h, "state")};
    const char *separator = " (";
    struct buf b;
    char *name;

    buf_init(&b, 4096);
    buf_printf(&b, "%s %s", text(h, "kind"), text(h, "name"));
    for (size_t i = 0; i < ATS_COUNT(parts); i++) {
        if (*parts[i] != '\0') {
            buf_printf(&b, "%s%s%s", separator, i == 0 ? "role " : "", parts[i]);
            separator = ", ";
        }
    }
    buf_puts(&b, strcmp(separator, ", ") == 0 ? ")" : "");
    name = mem_strdup(buf_text(&b));
    buf_free(&b);
    return name;
}

static char *how_to_end(const struct json *h)
{
    const char *kind = text(h, "kind");

    if (strcmp(kind, "session") == 0) {
        return mem_printf(
            "If it is not needed, pg_terminate_backend(%s) ends it. For good: idle_in_transaction_session_timeout "
            "or statement_timeout for its role.",
            text(h, "name"));
    }
    if (strcmp(kind, "prepared transaction") == 0) {
        return mem_printf("Ask who manages distributed transactions here. If it is forgotten: rollback prepared '%s'.",
                          text(h, "name"));
    }
    if (strcmp(kind, "replication slot") == 0) {
        return mem_printf(
            "If its standby or subscriber is gone for good, pg_drop_replication_slot('%s') takes it away; "
            "otherwise bring that back.",
            text(h, "name"));
    }
    return mem_strdup("End the long question on the standby, or set hot_standby_feedback = off there.");
}

/* A session whose times we may not see is judged by how many transactions have gone by. */
static bool holds_too_long(const struct json *h, enum severity *ret, char **ret_age)
{
    int64_t seconds = number(h, "seconds"), transactions = number(h, "transactions");
    bool is_prepared = strcmp(text(h, "kind"), "prepared transaction") == 0;
    bool bad;

    if (seconds >= 0) {
        bad = reaches(seconds, is_prepared ? 10 * MINUTE : 15 * MINUTE, is_prepared ? HOUR : 2 * HOUR, ret);
    } else {
        bad = reaches(transactions, 1000000, 10000000, ret);
    }
    if (bad) {
        *ret_age = seconds >= 0 ? mem_printf("for %s", span_text(seconds).s)
                                : mem_printf("for %" PRId64 ".%" PRId64 " million transactions", transactions / 1000000,
                                             transactions / 100000 % 10);
    }
    return bad;
}

void judge_horizon(struct diagnoses *d, const struct json *holders)
{
    for (const struct json *h = json_first(holders); h; h = json_next(h)) {
        int64_t kept = number(h, "kept_bytes");
        char *name = name_holder(h);
        char *age = NULL;
        enum severity severity;

        if (holds_too_long(h, &severity, &age)) {
            diagnose(d, severity, "horizon", mem_printf("The %s has held the horizon %s.", name, age),
                     mem_strdup("Rows that were updated since then cannot be cleaned up, by nobody: the queue's tables "
                                "and indexes grow, and claiming gets slower."),
                     how_to_end(h));
            mem_free(age);
        }
        if (!json_get_bool(h, "active") && reaches(kept, GIB, 16 * GIB, &severity)) {
            diagnose(d, severity, "horizon",
                     mem_printf("The %s is not used and keeps %s of write-ahead log.", name, bytes_text(kept).s),
                     mem_strdup("It grows until the disk is full, and then the database stops."), how_to_end(h));
        }
        mem_free(name);
    }
}

/* ---- bloat */

void judge_bloat(struct diagnoses *d, const struct json *tables, const struct json *indexes)
{
    for (const struct json *t = json_first(tables); t; t = json_next(t)) {
        int64_t bytes = number(t, "bytes"), packed = number(t, "packed_bytes");

        if (packed > 0 && bytes >= 128 * MIB && bytes > 3 * packed) {
            diagnose(
                d, SEVERITY_WARNING, "bloat",
                mem_printf("The table atsync.%s takes %s; its rows need about %s.", text(t, "name"),
                           bytes_text(bytes).s, bytes_text(packed).s),
                mem_strdup("Whatever reads it reads empty pages too. New rows will use the room, so it does not grow "
                           "from here unless something holds the horizon."),
                mem_printf("In a quiet hour: vacuum (full) atsync.%s, which locks it, or pg_repack, which does not.",
                           text(t, "name")));
        }
    }
    for (const struct json *i = json_first(indexes); i; i = json_next(i)) {
        int64_t bytes = number(i, "bytes"), packed = number(i, "packed_bytes");

        if (packed > 0 && bytes >= 64 * MIB && bytes > 3 * packed) {
            diagnose(d, SEVERITY_WARNING, "bloat",
                     mem_printf("The index atsync.%s takes %s; its entries need about %s.", text(i, "name"),
                                bytes_text(bytes).s, bytes_text(packed).s),
                     mem_strdup("It crowds out other pages from memory, and reading it takes longer."),
                     mem_printf("reindex index concurrently atsync.%s (nobody has to wait for it)", text(i, "name")));
        }
    }
}

void judge_indexes(struct diagnoses *d, const struct json *indexes)
{
    for (const struct json *i = json_first(indexes); i; i = json_next(i)) {
        if (!json_get_bool(i, "usable")) {
            diagnose(
                d, SEVERITY_ERROR, "schema",
                mem_printf("The index atsync.%s on %s cannot be used.", text(i, "name"), text(i, "on_table")),
                mem_strdup("Making it was interrupted: it costs every write and helps no question."),
                mem_printf("reindex index concurrently atsync.%s; if its name ends in _ccnew, drop index atsync.%s "
                           "instead.",
                           text(i, "name"), text(i, "name")));
        }
    }
}

/* ---- daemons */

void judge_daemons(struct diagnoses *d, const struct json *row, const char *own_version)
{
    const struct json *daemons = json_get(row, "daemons");
    const char *version = json_get_str(json_first(daemons), "version");
    int64_t oldest = number(row, "oldest_due_seconds");
    enum severity severity;

    if (json_count(daemons) == 0) {
        diagnose(d, json_get_bool(row, "anybody_due") ? SEVERITY_ERROR : SEVERITY_WARNING, "daemons",
                 mem_strdup("No daemon works on this database."),
                 mem_printf("%s, and senders get no answer.", json_get_bool(row, "anybody_due")
                                                                  ? "Candidates are due and nobody syncs them"
                                                                  : "Nothing is synced"),
                 mem_strdup("systemctl start atsyncd; why it ended stands in journalctl -u atsyncd."));
        return;
    }
    if (reaches(oldest, 10 * MINUTE, HOUR, &severity)) {
        diagnose(d, severity, "daemons",
                 mem_printf("A candidate has been due for %s, although %zu %s.", span_text(oldest).s,
                            json_count(daemons), json_count(daemons) == 1 ? "daemon works" : "daemons work"),
                 mem_strdup("There is more to do than the ATS's pace allows, or the daemons are stuck."),
                 mem_strdup("atsyncctl status shows which connector it is, atsyncctl issues what is wrong with it."));
    }
    for (const struct json *one = json_first(daemons); one; one = json_next(one)) {
        const char *its = text(one, "version");

        if (strcmp(its, own_version) != 0 || strcmp(its, version) != 0) {
            diagnose(
                d, SEVERITY_INFO, "daemons",
                mem_printf("The daemon %s is release %s; this atsyncctl is %s.", text(one, "owner"), its, own_version),
                mem_strdup("That is well during an upgrade. Afterwards it means that one was forgotten, or not "
                           "restarted."),
                mem_strdup("Restart it, or install the same release there."));
        }
    }
}

/* ---- tokens and certificates */

void judge_tokens(struct diagnoses *d, const struct json *tokens)
{
    for (const struct json *t = json_first(tokens); t; t = json_next(t)) {
        int64_t since = number(t, "renewed_seconds");
        enum severity severity;

        if (json_get_bool(t, "is_kept") && json_get_bool(t, "has_first_token") &&
            reaches(since, 14 * DAY, 30 * DAY, &severity)) {
            diagnose(
                d, severity, "tokens",
                mem_printf("The refresh token of connector %s was used last %s ago.", text(t, "connector"),
                           span_text(since).s),
                mem_strdup("Many ATSs let one end that is not used for some weeks; then somebody has to authorise "
                           "atsyncd anew."),
                mem_strdup("Let a daemon run that has this connector. If it is not needed any more, take it out of "
                           "the configuration."));
        }
    }
}

bool token_end(const char *text, int64_t *ret_us)
{
    const char *first = strchr(text, '.');
    const char *second = first ? strchr(first + 1, '.') : NULL;
    size_t len = second ? (size_t)(second - first - 1) : 0;
    uint8_t *payload;
    struct json *claims = NULL;
    size_t padded_len = (len + 3) / 4 * 4;
    size_t payload_len = 0;
    int64_t seconds = 0;
    char *padded;
    bool found = false;

    if (len == 0 || !text_starts(text, "eyJ")) { /* {" in base64 */
        return false;
    }
    padded = mem_alloc(padded_len + 1);
    for (size_t i = 0; i < padded_len; i++) {
        char c = i < len ? first[1 + i] : '=';

        padded[i] = c == '-' ? '+' : c;
        if (c == '_') {
            padded[i] = '/';
        }
    }
    padded[padded_len] = '\0';
    payload = mem_alloc(padded_len + 1);
    if (crypto_unbase64(padded, padded_len, payload, padded_len, &payload_len) &&
        json_parse((const char *)payload, payload_len, &claims, NULL) == ST_OK &&
        json_get_i64(claims, "exp", &seconds) && seconds > 0 && seconds < INT64_MAX / 1000000) {
        *ret_us = seconds * 1000000;
        found = true;
    }
    json_free(claims);
    mem_wipe(padded, padded_len);
    mem_wipe(payload, payload_len);
    mem_free(padded);
    mem_free(payload);
    return found;
}

void judge_end(struct diagnoses *d, const char *check, const char *what, int64_t ends_us, int64_t now_us,
               const char *why, const char *todo)
{
    int64_t left = (ends_us - now_us) / 1000000;

    if (left <= 0) {
        diagnose(d, SEVERITY_ERROR, check, mem_printf("%s ended %s ago.", what, span_text(-left).s), mem_strdup(why),
                 mem_strdup(todo));
    } else if (left < 14 * DAY) {
        diagnose(d, left < 3 * DAY ? SEVERITY_ERROR : SEVERITY_WARNING, check,
                 mem_printf("%s ends in %s.", what, span_text(left).s), mem_strdup(why), mem_strdup(todo));
    }
}

/* ---- senders */

enum { WEEKS_WANTED = 2, EVENTS_EXPECTED = 5, EVENTS_MANY = 50 };

/*
 * Usual is what happened in the same hours of the weeks before: a night or a weekend without events is none. With so
 * many events expected, none at all is no accident (for five: 7 in 1,000).
 */
void judge_silence(struct diagnoses *d, const struct json *row)
{
    static const char why[] =
        "Events may be getting lost before they reach the daemon, and what is not received is not synced.";
    static const char todo[] = "Look at the deliveries of the webhook at the sender, at the proxy before "
                               "receiver.listen, and at refusals (atsyncctl "
                               "issues). atsyncctl send-sample tries this side.";
    int64_t silent = number(row, "silent_seconds"), least = INT64_MAX, most = 0, sum = 0, weeks = 0;
    char *how_long;

    if (!json_get_bool(row, "is_known")) {
        diagnose(
            d, SEVERITY_INFO, "silence", mem_printf("%s has never sent an event.", text(row, "source")),
            mem_strdup("Without its events nothing is synced."),
            mem_strdup("Is the webhook active at the sender, and does its address lead to receiver.listen? atsyncctl "
                       "send-sample tries this side."));
        return;
    }
    how_long = silent < 0 ? mem_strdup("for more than a week") : mem_printf("for %s", span_text(silent).s);
    for (const struct json *w = json_first(json_get(row, "weeks")); w; w = json_next(w)) {
        int64_t events = number(w, "events");

        if (json_get_bool(w, "known")) {
            weeks++;
            sum += events;
            least = events < least ? events : least;
            most = events > most ? events : most;
        }
    }
    if (weeks >= WEEKS_WANTED && least >= 1 && sum >= EVENTS_EXPECTED * weeks) {
        diagnose(d, sum >= EVENTS_MANY * weeks ? SEVERITY_ERROR : SEVERITY_WARNING, "silence",
                 mem_printf("%s has sent nothing %s. In the same hours of the last %" PRId64 " weeks it sent %" PRId64
                            " to %" PRId64 " events.",
                            text(row, "source"), how_long, weeks, least, most),
                 mem_strdup(why), mem_strdup(todo));
    } else if (silent < 0) {
        diagnose(d, SEVERITY_INFO, "silence", mem_printf("%s has sent nothing %s.", text(row, "source"), how_long),
                 mem_strdup(why), mem_strdup(todo));
    }
    mem_free(how_long);
}

enum { CLOCK_EVENTS_WANTED = 3, CLOCK_LATE_EVENTS_WANTED = 20 };

void judge_sender_clock(struct diagnoses *d, const struct json *row)
{
    int64_t events = number(row, "clock_events"), least_ms = 0;

    if (!json_get_i64(row, "clock_least_ms", &least_ms) || events < CLOCK_EVENTS_WANTED) {
        return;
    }
    if (least_ms < -5000) {
        diagnose(
            d, SEVERITY_WARNING, "clock",
            mem_printf("Events of %s carry times up to %s ahead of the database's clock.", text(row, "source"),
                       span_text(-least_ms / 1000).s),
            mem_strdup("Which of two events is the newer one is decided by the sender's times. A clock that is set "
                       "back later makes newer events lose."),
            mem_strdup("Is the database's clock kept by NTP? If so, tell the sender."));
    } else if (least_ms > 10 * MINUTE * 1000 && events >= CLOCK_LATE_EVENTS_WANTED) {
        diagnose(d, SEVERITY_INFO, "clock",
                 mem_printf("No event of %s was younger than %s when it came.", text(row, "source"),
                            span_text(least_ms / 1000).s),
                 mem_strdup("Either the sender delivers late, or its clock and the database's differ."),
                 mem_strdup("Is the database's clock kept by NTP? Does the sender say that it delivers late?"));
    }
}

/* ---- the way to the database */

void judge_pooling(struct diagnoses *d, enum pooling pooling, bool has_listen, enum pooling listen)
{
    static const char listen_todo[] =
        "Give a direct connection in database.listen_conninfo, or leave it: polling works too.";

    switch (pooling) {
    case POOLING_NONE:
        break;
    case POOLING_STATEMENT:
        diagnose(d, SEVERITY_ERROR, "pooler", mem_strdup("A pooler in statement mode stands before the database."),
                 mem_strdup("It allows no transactions, and the daemon cannot work without them."),
                 mem_strdup("pool_mode = transaction (or session) for this database."));
        return;
    case POOLING_SESSION:
        diagnose(
            d, SEVERITY_INFO, "pooler", mem_strdup("A pooler in session mode stands before the database."),
            mem_strdup("Each connection of a daemon occupies one of the server's all the time, so the pooler saves "
                       "none; LISTEN is not used through it, daemons find each other's work by polling."),
            mem_strdup("pool_mode = transaction is enough for atsyncd, or connect directly."));
        break;
    case POOLING_TRANSACTION:
        if (!has_listen) {
            diagnose(d, SEVERITY_INFO, "pooler", mem_strdup("A pooler in transaction mode stands before the database."),
                     mem_strdup("LISTEN does not go through it: what one daemon receives, others find by polling "
                                "(delivery.poll), and statements are planned anew each time."),
                     mem_strdup(listen_todo));
        }
        break;
    }
    if (has_listen && listen != POOLING_NONE) {
        diagnose(
            d, SEVERITY_WARNING, "pooler", mem_strdup("database.listen_conninfo leads through a pooler too."),
            mem_strdup("It is there for a direct connection. LISTEN does not go through a pooler, so daemons poll."),
            mem_strdup("Name the server's own address there, or take the key out."));
    }
}

/* ---- disk */

void judge_disk(struct diagnoses *d, const struct disk *disk, int64_t database_bytes)
{
    int64_t percent = disk->total_bytes > 0 ? disk->free_bytes * 100 / disk->total_bytes : 100;
    bool error = percent < 3 || disk->free_bytes < GIB;
    bool warning = percent < 10 || disk->free_bytes < 5 * GIB;

    if (warning || error) {
        diagnose(
            d, error ? SEVERITY_ERROR : SEVERITY_WARNING, "disk",
            mem_printf("%s of %s are free where the database lives (%s); the database has %s.",
                       bytes_text(disk->free_bytes).s, bytes_text(disk->total_bytes).s, disk->path,
                       bytes_text(database_bytes).s),
            mem_strdup("When the disk is full, events are answered with 503 and nothing is written."),
            mem_strdup("Make the disk larger, or keep less: retention.events and retention.calls. Unused replication "
                       "slots keep files too (see horizon)."));
    }
}

void judge_release(struct diagnoses *d, const struct schema_status *status)
{
    if (status->version == 0) {
        diagnose(d, SEVERITY_ERROR, "schema", mem_strdup("The database has no schema atsync yet."),
                 mem_strdup("No daemon can work on it."), mem_strdup("atsyncctl setup"));
    } else if (status->newer_breaking) {
        diagnose(d, SEVERITY_ERROR, "schema",
                 mem_printf("The schema is version %d, and this release must not work on more than %d.",
                            status->version, status->newest_known),
                 mem_strdup("A newer release has changed it in a way that this one does not understand, and this one "
                            "refuses to start."),
                 mem_strdup("Install the newer release here."));
    } else if (status->migration_missing) {
        diagnose(
            d, SEVERITY_ERROR, "schema",
            mem_printf("The schema is version %d, and this release needs %d.", status->version, status->newest_known),
            mem_strdup("This release refuses to start on it."), mem_strdup("atsyncctl migrate"));
    } else if (status->version > status->newest_known) {
        diagnose(d, SEVERITY_WARNING, "schema",
                 mem_printf("The schema is version %d; this release, %s, knows up to %d.", status->version,
                            ATSYNC_VERSION, status->newest_known),
                 mem_strdup("It works, but it is older than what others have installed; whether the schema is complete "
                            "cannot be told from here."),
                 mem_strdup("Install the newer release here."));
    }
}
