/* What the views say: status, issues, tail. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "service/app.h"
#include "store/activity.h"
#include "store/views.h"

enum {
    TIMELINE_MAX = 1000,
    TAIL_EVERY_MS = 1000,
    TAIL_OVERLAP_US = 10 * 1000 * 1000, /* a commit may be so much younger than its rows' times */
};

static void print_rows(const struct json *rows, const struct column *columns, size_t count)
{
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    print_table(rows, columns, count, print_to_terminal(), &b);
    fputs(buf_text(&b), stdout);
    buf_free(&b);
}

/* A heading is for people. */
static void print_heading(const char *text)
{
    if (print_to_terminal()) {
        printf("\n%s\n", text);
    }
}

/* ---- status */

struct counts { /* candidates that no connector is known for, and open issues */
    int64_t waiting_for_identity, unmapped;
    int64_t errors, warnings, infos;
};

static void count_unrouted(void *ctx, const struct queue_count *q)
{
    struct counts *c = ctx;

    if (*q->connector == '\0' && strcmp(q->state, "waiting_for_identity") == 0) {
        c->waiting_for_identity += q->count;
    } else if (*q->connector == '\0' && strcmp(q->state, "unmapped") == 0) {
        c->unmapped += q->count;
    }
}

static void count_issues(const struct json *issues, struct counts *c)
{
    for (const struct json *i = json_first(issues); i; i = json_next(i)) {
        const char *severity = json_get_str(i, "severity");

        c->errors += text_eq(severity, "error");
        c->warnings += text_eq(severity, "warning");
        c->infos += text_eq(severity, "info");
    }
}

static const struct column queue_columns[] = {
    {"waiting", "WAITING", true},
    {"due_now", "DUE NOW", true},
    {"leased", "IN WORK", true},
    {"retrying", "RETRYING", true},
    {"oldest_due_seconds", "OLDEST DUE (S)", true},
    {"ingest_per_minute", "EVENTS/MIN", true},
    {"synced_per_minute", "SYNCED/MIN", true},
};
static const struct column connector_columns[] = {
    {"connector", "CONNECTOR", false},
    {"state", "STATE", false},
    {"waiting_candidates", "WAITING", true},
    {"oldest_waiting_seconds", "OLDEST (S)", true},
    {"calls_last_hour", "CALLS/H", true},
    {"errors_last_hour", "ERRORS/H", true},
    {"p95_ms", "P95 (MS)", true},
    {"until", "UNTIL", false},
    {"reason", "REASON", false},
};

static void print_overview(const struct ctl *ctl, struct json *queue, struct json *connectors, const struct counts *c)
{
    if (ctl->json) {
        struct json *j = json_object();
        struct json *issues = json_object();

        json_set_int(issues, "error", c->errors);
        json_set_int(issues, "warning", c->warnings);
        json_set_int(issues, "info", c->infos);
        json_set(j, "queue", json_copy(json_first(queue)));
        json_set(j, "connectors", json_copy(connectors));
        json_set_int(j, "waiting_for_identity", c->waiting_for_identity);
        json_set_int(j, "unmapped", c->unmapped);
        json_set(j, "open_issues", issues);
        ctl_print_json(j);
        return;
    }
    print_rows(queue, queue_columns, ATS_COUNT(queue_columns));
    print_heading("Connectors");
    print_rows(connectors, connector_columns, ATS_COUNT(connector_columns));
    if (print_to_terminal()) {
        printf("\nWithout a known external id: %" PRId64 ". In workflows without a mapping: %" PRId64 ".\n",
               c->waiting_for_identity, c->unmapped);
        printf("Open issues: %" PRId64 " errors, %" PRId64 " warnings, %" PRId64 " infos%s\n", c->errors, c->warnings,
               c->infos, c->errors + c->warnings + c->infos > 0 ? ": atsyncctl issues" : "");
    } else {
        printf("%" PRId64 "\t%" PRId64 "\n%" PRId64 "\t%" PRId64 "\t%" PRId64 "\n", c->waiting_for_identity,
               c->unmapped, c->errors, c->warnings, c->infos);
    }
}

static int overview(const struct ctl *ctl, const char *command, struct store *store)
{
    struct json *queue = NULL;
    struct json *connectors = NULL;
    struct json *issues = NULL;
    struct counts counts = {0};
    struct errmsg err = {{0}};
    int status = EXIT_CLEAN;

    if (store_show_queue(store, &queue, &err) != ST_OK || store_show_connectors(store, &connectors, &err) != ST_OK ||
        store_queue_counts(store, count_unrouted, &counts, &err) != ST_OK ||
        store_show_issues(store, false, &issues, &err) != ST_OK) {
        status = ctl_fail(command, &err);
    } else {
        count_issues(issues, &counts);
        print_overview(ctl, queue, connectors, &counts);
    }
    json_free(queue);
    json_free(connectors);
    json_free(issues);
    return status;
}

static const struct column sync_columns[] = {
    {"workflow_external_id", "WORKFLOW", false},
    {"connector", "CONNECTOR", false},
    {"job", "JOB", false},
    {"sync_state", "STATE", false},
    {"run_id", "RUN", false},
    {"run_state", "RUN STATE", false},
    {"result", "RESULT", false},
    {"pending_writes", "PENDING", true},
    {"dead_writes", "DEAD", true},
    {"last_event_at", "LAST EVENT", false},
    {"last_synced_at", "LAST SYNCED", false},
    {"last_error", "LAST ERROR", false},
};
static const struct column write_columns[] = {
    {"state", "STATE", false},     {"connector", "CONNECTOR", false},  {"kind", "KIND", false},
    {"target", "TARGET", false},   {"value", "VALUE", false},          {"attempts", "TRIED", true},
    {"http_status", "HTTP", true}, {"next_attempt_at", "NEXT", false}, {"error_class", "CLASS", false},
    {"error", "ERROR", false},
};
static const struct column timeline_columns[] = {
    {"at", "AT", false},
    {"kind", "KIND", false},
    {"summary", "SUMMARY", false},
    {"detail", "DETAIL", false},
};

static void print_candidate(const struct ctl *ctl, const char *candidate, struct json *sync, struct json *writes,
                            struct json *timeline)
{
    if (ctl->json) {
        struct json *j = json_object();

        json_set_str(j, "candidate", candidate);
        json_set(j, "sync", json_copy(sync));
        json_set(j, "writes", json_copy(writes));
        json_set(j, "timeline", json_copy(timeline));
        ctl_print_json(j);
        return;
    }
    print_rows(sync, sync_columns, ATS_COUNT(sync_columns));
    if (json_count(writes) > 0) {
        print_heading("Writes that are not done");
        print_rows(writes, write_columns, ATS_COUNT(write_columns));
    }
    if (json_count(timeline) > 0) {
        print_heading(json_count(timeline) == TIMELINE_MAX ? "What happened last" : "What happened");
        print_rows(timeline, timeline_columns, ATS_COUNT(timeline_columns));
    }
}

static int candidate_status(const struct ctl *ctl, const char *command, struct store *store, const char *candidate)
{
    struct json *sync = NULL;
    struct json *writes = NULL;
    struct json *timeline = NULL;
    struct errmsg err = {{0}};
    int status = EXIT_CLEAN;

    if (store_show_sync(store, candidate, &sync, &err) != ST_OK ||
        store_show_writes(store, candidate, &writes, &err) != ST_OK ||
        store_show_timeline(store, candidate, TIMELINE_MAX, &timeline, &err) != ST_OK) {
        status = ctl_fail(command, &err);
    } else if (json_count(sync) == 0 && json_count(timeline) == 0) {
        err_set(&err, ST_NOT_FOUND,
                "nothing is known of candidate \"%s\": CANDIDATE is the external id that the events carry", candidate);
        status = ctl_fail(command, &err);
    } else {
        print_candidate(ctl, candidate, sync, writes, timeline);
    }
    json_free(sync);
    json_free(writes);
    json_free(timeline);
    return status;
}

int ctl_status(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    struct config *config = NULL;
    struct store *store = NULL;
    int status;

    if (ctl_next_option(argc, argv, "", options) != -1) {
        return EXIT_USAGE;
    }
    if (argc - optind > 1) {
        return ctl_usage(argv[0], "one CANDIDATE at a time");
    }
    if (!ctl_open(ctl, argv[0], &config, &store, &status)) {
        return status;
    }
    status = optind < argc ? candidate_status(ctl, argv[0], store, argv[optind]) : overview(ctl, argv[0], store);
    store_free(store);
    config_unref(config);
    return status;
}

/* ---- issues */

static void add_named(struct buf *b, const char *before, const char *text)
{
    if (text) {
        buf_puts(b, before);
        print_escaped(text, b);
    }
}

static void print_issue(const struct json *issue, size_t width)
{
    int64_t affected = 0;
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    print_escaped(json_get_str(issue, "severity"), &b);
    add_named(&b, "  ", json_get_str(issue, "class"));
    add_named(&b, "  connector ", json_get_str(issue, "connector"));
    add_named(&b, "  workflow ", json_get_str(issue, "workflow_external_id"));
    add_named(&b, "  since ", json_get_str(issue, "first_seen"));
    add_named(&b, "  closed ", json_get_str(issue, "closed_at"));
    if (json_get_i64(issue, "affected_candidates", &affected) && affected > 0) {
        buf_printf(&b, "  %" PRId64 " %s", affected, affected == 1 ? "candidate" : "candidates");
    }
    buf_putc(&b, '\n');
    print_wrapped(json_get_str(issue, "message"), 2, width, &b);
    print_wrapped(json_get_str(issue, "hint"), 4, width, &b);
    puts(buf_text(&b));
    buf_free(&b);
}

static void print_issues(const struct ctl *ctl, const struct json *issues)
{
    static const struct column columns[] = {
        {"severity", "", false},
        {"class", "", false},
        {"connector", "", false},
        {"workflow_external_id", "", false},
        {"affected_candidates", "", true},
        {"first_seen", "", false},
        {"closed_at", "", false},
        {"message", "", false},
        {"hint", "", false},
    };

    if (ctl->json) {
        ctl_print_json(json_copy(issues));
    } else if (!print_to_terminal()) {
        print_rows(issues, columns, ATS_COUNT(columns));
    } else if (json_count(issues) == 0) {
        puts("No issue is open.");
    } else {
        for (const struct json *i = json_first(issues); i; i = json_next(i)) {
            print_issue(i, print_width());
        }
    }
}

int ctl_issues(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"all", no_argument, NULL, 'a'}, {NULL, 0, NULL, 0}};
    struct config *config = NULL;
    struct store *store = NULL;
    struct json *issues = NULL;
    struct errmsg err = {{0}};
    bool all = false;
    int option, status;

    while ((option = ctl_next_option(argc, argv, "a", options)) != -1) {
        if (option != 'a') {
            return EXIT_USAGE;
        }
        all = true;
    }
    if (optind < argc) {
        return ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]);
    }
    if (!ctl_open(ctl, argv[0], &config, &store, &status)) {
        return status;
    }
    if (store_show_issues(store, all, &issues, &err) == ST_OK) {
        print_issues(ctl, issues);
        status = EXIT_CLEAN;
    } else {
        status = ctl_fail(argv[0], &err);
    }
    json_free(issues);
    store_free(store);
    config_unref(config);
    return status;
}

/* ---- tail */

static volatile sig_atomic_t interrupted;

static void on_signal(int signo)
{
    (void)signo;
    interrupted = 1;
}

/* What was told already: rows come again as long as their time is within the overlap. */
struct told {
    struct told_row {
        uint64_t hash;
        int64_t at_us;
    } * rows;
    size_t count, room;
};

static bool was_told(const struct told *t, uint64_t hash)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i].hash == hash) {
            return true;
        }
    }
    return false;
}

static void remember(struct told *t, uint64_t hash, int64_t at_us)
{
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->rows = mem_grow(t->rows, t->room, sizeof *t->rows);
    }
    t->rows[t->count++] = (struct told_row){.hash = hash, .at_us = at_us};
}

static void forget_before(struct told *t, int64_t us)
{
    size_t kept = 0;

    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i].at_us >= us) {
            t->rows[kept++] = t->rows[i];
        }
    }
    t->count = kept;
}

static void print_news(const struct ctl *ctl, const struct json *row)
{
    static const char *const members[] = {"at", "kind", "candidate_external_id", "summary", "detail"};
    struct buf b;

    if (ctl->json) {
        ctl_print_json(json_copy(row));
        return;
    }
    buf_init(&b, SIZE_MAX / 4);
    for (size_t i = 0; i < ATS_COUNT(members); i++) {
        const char *text = json_get_str(row, members[i]);

        if (i > 0) {
            buf_puts(&b, print_to_terminal() ? "  " : "\t");
        }
        if (!text && print_to_terminal()) {
            buf_putc(&b, '-');
        }
        print_escaped(text, &b);
    }
    puts(buf_text(&b));
    buf_free(&b);
}

/* *since_us: the end of what is certainly complete; moves on to what was seen last, less the overlap. */
static int tell_news(const struct ctl *ctl, struct store *store, int64_t *since_us, struct told *told,
                     struct errmsg *err)
{
    struct json *rows = NULL;
    int64_t now_us = 0;
    int st = store_now(store, &now_us, err);

    if (st == ST_OK) {
        st = store_show_news(store, *since_us, &rows, err);
    }
    if (st != ST_OK) {
        return st;
    }
    for (const struct json *row = json_first(rows); row; row = json_next(row)) {
        char *text = json_text(row);
        uint64_t hash = text_hash64(text, strlen(text));
        int64_t at_us = now_us;

        if (!was_told(told, hash)) {
            (void)time_parse_iso8601(json_get_str(row, "at"), &at_us);
            remember(told, hash, at_us);
            print_news(ctl, row);
        }
        mem_free(text);
    }
    (void)fflush(stdout);
    json_free(rows);
    *since_us = now_us - TAIL_OVERLAP_US > *since_us ? now_us - TAIL_OVERLAP_US : *since_us;
    forget_before(told, *since_us - (int64_t)1000 * 1000);
    return ST_OK;
}

static int follow(const struct ctl *ctl, const char *command, const struct config *config, struct store *store,
                  int64_t since_us)
{
    struct told told = {0};
    struct errmsg err = {{0}};
    bool away = false;
    int st = tell_news(ctl, store, &since_us, &told, &err);

    while (st == ST_OK && !interrupted) {
        (void)poll(NULL, 0, TAIL_EVERY_MS); /* a signal ends it at once */
        if (interrupted || ferror(stdout)) {
            break;
        }
        st = ctl_connect(config, store, &err);
        if (st == ST_OK) {
            st = tell_news(ctl, store, &since_us, &told, &err);
        }
        if (st == ST_UNAVAILABLE || st == ST_UNCERTAIN) { /* a restart or failover: go on when it is over */
            if (!away) {
                fprintf(stderr, "%s: %s; trying again every second\n", command, err.text);
            }
            away = true;
            st = ST_OK;
        } else {
            away = false;
        }
    }
    mem_free(told.rows);
    return st == ST_OK || interrupted ? EXIT_CLEAN : ctl_fail(command, &err);
}

static int tail(const struct ctl *ctl, const char *command, const struct config *config, struct store *store,
                const char *since)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct errmsg err = {{0}};
    int64_t since_us = 0;
    int st;

    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    st = since ? ctl_since(store, since, &since_us, &err) : store_now(store, &since_us, &err);
    if (st == ST_INVALID) {
        return ctl_usage(command, "%s", err.text);
    }
    return st == ST_OK ? follow(ctl, command, config, store, since_us) : ctl_fail(command, &err);
}

int ctl_tail(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"since", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    struct config *config = NULL;
    struct store *store = NULL;
    const char *since = NULL;
    int option, status;

    while ((option = ctl_next_option(argc, argv, "", options)) != -1) {
        if (option != 's') {
            return EXIT_USAGE;
        }
        since = optarg;
    }
    if (optind < argc) {
        return ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]);
    }
    if (!ctl_open(ctl, argv[0], &config, &store, &status)) {
        return status;
    }
    status = tail(ctl, argv[0], config, store, since);
    store_free(store);
    config_unref(config);
    return status;
}
