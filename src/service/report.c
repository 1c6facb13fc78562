#include "service/report.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "domain/glance.h"
#include "store/views.h"

enum {
    LISTED = 20, /* candidates in a list */
    TIMELINE_MAX = 200,
    ANSWERS_MAX = 500,
    CHART_HOURS = 24,
    KEPT_PER_COST = 10,
    FAILURE_KEPT_MS = 1000,
};

struct kept {
    struct json *json;
    int64_t until_ms;
};

struct report {
    struct store *store;
    struct errmsg failure; /* told again, without asking, to those who come right after */
    int64_t failed_until_ms;
    struct kept figures, minutes, hours;
    struct json *status, *candidate;
};

struct report *report_new(struct config *c)
{
    struct report *r = mem_zalloc(sizeof *r);

    r->store = store_new(c, "status page");
    return r;
}

void report_free(struct report *r)
{
    if (!r) {
        return;
    }
    json_free(r->figures.json);
    json_free(r->minutes.json);
    json_free(r->hours.json);
    json_free(r->status);
    json_free(r->candidate);
    store_free(r->store);
    mem_free(r);
}

void report_reload(struct report *r, const struct config *c)
{
    store_reload(r->store, c);
}

/* ---- what is kept for a while */

static bool is_fresh(const struct kept *k)
{
    return k->json && clock_mono_ms() < k->until_ms;
}

static void keep(struct kept *k, struct json *json, int64_t began_ms)
{
    int64_t now_ms = clock_mono_ms();

    json_free(k->json);
    k->json = json;
    k->until_ms = now_ms + (now_ms - began_ms) * KEPT_PER_COST;
}

/* ---- status */

/* Adds what a view says under this name; rows: all of them, or the first. */
static int add(struct json *to, const char *name, int st, struct json **rows, bool one)
{
    if (st == ST_OK) {
        json_set(to, name, json_copy(one ? json_first(*rows) : *rows));
        json_free(*rows);
        *rows = NULL;
    }
    return st;
}

static int look(struct report *r, struct errmsg *err)
{
    struct json *figures = json_object();
    struct json *rows = NULL;
    int64_t began_ms = clock_mono_ms();
    int st;

    if ((st = add(figures, "queue", store_show_queue(r->store, &rows, err), &rows, true)) == ST_OK &&
        (st = add(figures, "last_hour", store_show_hour(r->store, &rows, err), &rows, true)) == ST_OK &&
        (st = add(figures, "connectors", store_show_connectors(r->store, &rows, err), &rows, false)) == ST_OK &&
        (st = add(figures, "issues", store_show_issues(r->store, false, &rows, err), &rows, false)) == ST_OK &&
        (st = add(figures, "blocked", store_show_blocked(r->store, LISTED, &rows, err), &rows, false)) == ST_OK &&
        (st = add(figures, "newest", store_show_newest(r->store, LISTED, &rows, err), &rows, false)) == ST_OK &&
        (st = add(figures, "daemons", store_show_daemons(r->store, &rows, err), &rows, false)) == ST_OK) {
        keep(&r->figures, figures, began_ms);
        figures = NULL;
    }
    json_free(figures);
    return st;
}

/* A database that is away makes everybody wait for the connection; those who come meanwhile need not try it as well. */
static int look_unless_failed(struct report *r, struct errmsg *err)
{
    int st;

    if (clock_mono_ms() < r->failed_until_ms) {
        *err = r->failure;
        return ST_UNAVAILABLE;
    }
    st = look(r, err);
    if (st != ST_OK) {
        r->failure = *err;
        r->failed_until_ms = clock_mono_ms() + FAILURE_KEPT_MS;
    }
    return st;
}

static void add_pace(struct json *connector, const struct report_about *about)
{
    const char *name = json_get_str(connector, "connector");
    const struct connector_config *c = name ? config_connector(about->config, name) : NULL;
    const struct connector_module *m = c ? connector_set_find(about->connectors, name) : NULL;
    struct connector_limits limits;
    struct json *pace;

    json_set_bool(connector, "configured", m != NULL);
    if (!m) {
        return;
    }
    limits = connector_limits_of(m, c);
    pace = json_object();
    json_set_str(connector, "type", c->type);
    if (limits.rate_count > 0) { /* else as fast as it goes */
        json_set_int(pace, "requests", limits.rate_count);
        json_set(pace, "per_seconds", json_number((double)limits.rate_per_ms / 1000));
    }
    if (limits.per_day > 0) {
        json_set_int(pace, "per_day", limits.per_day);
    }
    json_set_int(pace, "concurrency", limits.concurrency);
    json_set(connector, "pace", pace);
}

/* The figures' members, with what the configuration adds to a connector. */
static void add_figures(struct json *to, const struct json *figures, const struct report_about *about)
{
    for (const struct json *m = json_first(figures); m; m = json_next(m)) {
        if (strcmp(json_key(m), "connectors") != 0) {
            json_set(to, json_key(m), json_copy(m));
            continue;
        }
        struct json *connectors = json_array();

        for (const struct json *c = json_first(m); c; c = json_next(c)) {
            struct json *copy = json_copy(c);

            add_pace(copy, about);
            json_push(connectors, copy);
        }
        json_set(to, "connectors", connectors);
    }
}

static int64_t figure(const struct json *status, const char *of, const char *name)
{
    int64_t n = 0;

    (void)json_get_i64(json_get(status, of), name, &n);
    return n;
}

static void add_glance(struct json *status)
{
    struct arena *arena = arena_new();
    struct glance_facts facts = {
        .ready = json_get_bool(status, "ready"),
        .reason = json_get_str(status, "reason"),
        .waiting = figure(status, "queue", "waiting") + figure(status, "queue", "leased"),
        .oldest_due_seconds = figure(status, "queue", "oldest_due_seconds"),
        .events = figure(status, "last_hour", "events"),
        .writes = figure(status, "last_hour", "writes"),
    };
    struct glance glance;

    for (const struct json *i = json_first(json_get(status, "issues")); i; i = json_next(i)) {
        const char *severity = json_get_str(i, "severity");

        facts.errors += text_eq(severity, "error");
        facts.warnings += text_eq(severity, "warning");
        if (!facts.worst && !text_eq(severity, "info")) { /* the worst come first */
            facts.worst = json_get_str(i, "message");
        }
    }
    glance = glance_of(&facts, arena);
    json_set_str(status, "state", glance_level_name(glance.level));
    json_set_str(status, "headline", glance.headline);
    json_set_str(status, "summary", glance.sentence);
    arena_free(arena);
}

const struct json *report_status(struct report *r, const struct report_about *about)
{
    struct json *j = json_object();
    int64_t now_us = clock_wall_us();
    struct errmsg err;
    int st = ST_OK;

    json_set_str(j, "at", time_iso8601(now_us).s);
    json_set_str(j, "version", ATSYNC_VERSION);
    json_set_str(j, "instance", about->config->instance);
    json_set_str(j, "started_at", time_iso8601(about->started_us).s);
    json_set_int(j, "uptime_seconds", (now_us - about->started_us) / 1000000);
    if (about->ready && !is_fresh(&r->figures)) {
        st = look_unless_failed(r, &err);
    }
    json_set_bool(j, "ready", about->ready);
    if (!about->ready) {
        json_set_str(j, "reason", about->reason);
    } else if (st == ST_OK) {
        add_figures(j, r->figures.json, about);
    } else {
        json_set_bool(j, "ready", false);
        json_set_str(j, "reason", err.text);
    }
    add_glance(j);
    json_free(r->status);
    r->status = j;
    return j;
}

/* ---- activity */

int report_activity(struct report *r, const struct json **ret, struct errmsg *err)
{
    static const char *const columns[] = {"time",  "events",       "refused", "writes",      "failed_writes",
                                          "calls", "failed_calls", "synced",  "lag_seconds", "longest_lag_seconds"};
    int64_t began_ms = clock_mono_ms();
    struct json *rows = NULL;
    int st = is_fresh(&r->minutes) ? ST_OK : store_show_activity(r->store, CHART_HOURS, &rows, err);

    if (rows) {
        struct json *j = json_object();
        struct json *names = json_array();

        for (size_t i = 0; i < ATS_COUNT(columns); i++) {
            json_push(names, json_string(columns[i]));
        }
        json_set_int(j, "until", clock_wall_us() / 1000000);
        json_set_int(j, "hours", CHART_HOURS);
        json_set_int(j, "step_seconds", 60);
        json_set(j, "columns", names);
        json_set(j, "rows", rows);
        keep(&r->minutes, j, began_ms);
    }
    *ret = r->minutes.json;
    return st;
}

int report_hours(struct report *r, const struct json **ret, struct errmsg *err)
{
    int64_t began_ms = clock_mono_ms();
    struct json *rows = NULL;
    int st = is_fresh(&r->hours) ? ST_OK : store_show_hours(r->store, &rows, err);

    if (rows) {
        keep(&r->hours, rows, began_ms);
    }
    *ret = r->hours.json;
    return st;
}

/* ---- one candidate */

static struct json *without(const struct json *rows, const char *member)
{
    struct json *copy = json_array();

    for (const struct json *row = json_first(rows); row; row = json_next(row)) {
        struct json *one = json_copy(row);

        json_set(one, member, NULL);
        json_push(copy, one);
    }
    return copy;
}

static int add_writes(struct report *r, struct json *to, const char *id, bool personal, struct errmsg *err)
{
    struct json *rows = NULL;
    int st = store_show_writes(r->store, id, &rows, err);

    if (st == ST_OK) {
        json_set(to, "open_writes", personal ? json_copy(rows) : without(rows, "value"));
        json_free(rows);
    }
    return st;
}

static int add_one(struct report *r, struct json *j, const char *id, bool personal, struct errmsg *err)
{
    struct json *rows = NULL;
    int st;

    json_set_str(j, "id", id);
    if ((st = add(j, "sync", store_show_sync(r->store, id, &rows, err), &rows, false)) != ST_OK ||
        (st = add_writes(r, j, id, personal, err)) != ST_OK ||
        (st = add(j, "timeline", store_show_timeline(r->store, id, TIMELINE_MAX, &rows, err), &rows, false)) != ST_OK ||
        !personal) {
        return st;
    }
    st = add(j, "answers", store_show_answers(r->store, id, ANSWERS_MAX, &rows, err), &rows, false);
    return st == ST_OK ? add(j, "contacts", store_show_contacts(r->store, id, &rows, err), &rows, false) : st;
}

int report_candidate(struct report *r, const struct config *c, const char *words, bool personal,
                     const struct json **ret, struct errmsg *err)
{
    struct json *found = NULL;
    struct json *j = NULL;
    int st = store_find_candidate(r->store, words, c, &found, err);

    if (st != ST_OK) {
        return st;
    }
    j = json_object();
    json_set_str(j, "words", words);
    json_set(j, "found", json_copy(found));
    json_set_bool(j, "personal", personal);
    if (json_count(found) > 0) {
        st = add_one(r, j, json_str(json_first(found)), personal, err);
    }
    json_free(found);
    json_free(r->candidate);
    r->candidate = j;
    *ret = j;
    return st;
}
