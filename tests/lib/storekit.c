#include "lib/storekit.h"

#include "base/buf.h"
#include "base/text.h"
#include "store/erase.h"
#include "store/name_table.h"
#include "store/operate.h"

enum { CLAIM = 100, ROUNDS_MAX = 1000, RETRY_MS = 3600 * 1000 };

static const char default_workflows[] =
    "  " KIT_WORKFLOW ":\n"
    "    connector: ats\n"
    "    job: \"182736\"\n"
    "    on:\n"
    "      started: {stage: \"Contacted\"}\n"
    "      completed/PASSED_CRITERIA: {stage: \"Recruiter screen\", tags: [passed]}\n"
    "      finished: {note: summary}\n"
    "    fields: {nmc-pin: nmc_pin_status, nmc-pin.score: nmc_pin_score}\n";

void assert_done(int st, const struct errmsg *err)
{
    if (st != ST_OK) {
        fail_msg("%s: %s", status_name(st), err->text);
    }
}

void assert_sql(struct harness *h, const char *query, const char *expected)
{
    const char *got = sql_text(h, query);

    if (!text_eq(got, expected)) {
        fail_msg("%s\n    is %s\n    and not %s", query, got ? got : "NULL", expected ? expected : "NULL");
    }
}

/* ---- opening and closing ------------------------------------------------------------------------------------------ */

struct config *kit_config(struct harness *h, const char *workflows)
{
    const char *text =
        arena_printf(h->arena,
                     "instance: one\n"
                     "database: {conninfo: \"%s\"}\n"
                     "sources:\n  popp: {signing_secrets: [" E2E_SECRET "]}\n"
                     "connectors:\n"
                     "  ats: {type: rest, base_url: \"http://127.0.0.1:1\", credentials: {token: none}}\n"
                     "  spare: {type: rest, base_url: \"http://127.0.0.1:1\", credentials: {token: none}}\n"
                     "workflows:\n%s",
                     h->conninfo, workflows ? workflows : default_workflows);
    struct config_problems problems = {0};
    struct config *c = NULL;
    struct buf out;

    if (config_parse("kit.conf", text, strlen(text), &c, &problems) != ST_OK) {
        buf_init(&out, SIZE_MAX / 4);
        config_problems_print(&problems, &out);
        fail_msg("%s\n%s", buf_text(&out), text);
    }
    config_problems_clear(&problems);
    return c;
}

static void ignore_line(void *ctx, const char *line)
{
    (void)ctx;
    (void)line;
}

struct store *kit_store(struct kit *k, const char *role)
{
    struct store *s = store_new(k->config, role);
    struct errmsg err;

    assert_done(store_connect(s, &err), &err);
    return s;
}

static void kit_register(struct kit *k)
{
    struct store_changed *changed;
    struct errmsg err;
    size_t count;

    assert_done(store_connector_register(k->store, k->config, k->h->arena, &changed, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        int64_t found = 1, woken;
        bool was_open;

        assert_done(store_connector_closed(k->store, changed[i].connector, &was_open, &err), &err);
        while (found > 0) {
            assert_done(store_connector_changed(k->store, &changed[i], &found, &woken, &err), &err);
            assert_true(woken > 0 || found == 0);
        }
        assert_done(store_connector_adopt(k->store, changed[i].connector, changed[i].hash, &err), &err);
    }
}

struct kit *kit_open(struct harness *h, const char *workflows)
{
    struct kit *k = arena_alloc(h->arena, sizeof *k);
    struct errmsg err;

    k->h = h;
    k->config = kit_config(h, workflows);
    k->store = kit_store(k, "test");
    k->owner = store_owner_name("one", 0);
    k->lease_ms = 60000;
    assert_done(store_migrate(k->store, false, ignore_line, NULL, &err), &err);
    kit_register(k);
    return k;
}

void kit_configure(struct kit *k, const char *workflows)
{
    config_unref(k->config);
    k->config = kit_config(k->h, workflows);
    kit_register(k);
}

void kit_close(struct kit *k)
{
    store_free(k->store);
    config_unref(k->config);
    mem_free(k->owner);
}

/* ---- receiving ---------------------------------------------------------------------------------------------------- */

/* Which connector a subject goes to when it arrives: NULL for events that need no work, "" when it has to be found out. */
static const char *connector_of(const struct kit *k, const struct event *e, const char *subject)
{
    const struct workflow_map *map;

    if (e->type == EVENT_OTHER) {
        return NULL;
    }
    if (subject[0] != 'x' || !e->workflow_external_id) {
        return "";
    }
    map = mapping_find(&k->config->mapping, e->workflow_external_id);
    return map ? map->connector : "";
}

bool kit_put_bytes(struct kit *k, const char *body, size_t len)
{
    struct arena *arena = arena_new();
    struct ingest_event in;
    struct event e;
    struct errmsg err;

    assert_done(event_parse(body, len, arena, &e, &err), &err);
    in = (struct ingest_event){
        .source = "popp",
        .event_id = e.id,
        .type = e.type_name,
        .subject = event_subject(&e, arena),
        .external_id = e.external_id,
        .profile_id = e.profile_id,
        .run_id = e.run_id,
        .workflow_id = e.workflow_id,
        .workflow_external_id = e.workflow_external_id,
        .time_us = e.time_us,
        .body = body,
        .body_len = len,
    };
    in.connector = connector_of(k, &e, in.subject);
    assert_done(store_ingest(k->store, &in, 1, &err), &err);
    assert_done(store_erase_told(k->store, &in, 1, &err), &err);
    arena_free(arena);
    return in.stored;
}

bool kit_put(struct kit *k, const char *body)
{
    return kit_put_bytes(k, body, strlen(body));
}

/* ---- working ------------------------------------------------------------------------------------------------------ */

struct work {
    struct run_set runs;
    struct plan plan;
    struct ledger_diff diff;
    bool is_ahead; /* nothing of it is recorded before the results are */
};

static void add_route(struct record_route *routes, size_t *count, struct record_route route)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(routes[i].connector, route.connector) == 0) {
            return;
        }
    }
    routes[(*count)++] = route;
}

static void find_place(struct kit *k, const struct work *w, const struct loaded *l, struct record *r,
                       struct arena *arena)
{
    bool own = r->who->ref[0] == 'x';
    const char *ref = own ? r->who->ref : l->resolved_ref;
    const char *external_id = own ? r->who->external_id : l->resolved_external_id;
    struct record_route *routes = arena_alloc(arena, (w->runs.count + 1) * sizeof *routes);
    bool unmapped = false;

    r->release = true;
    r->synced = true;
    r->routes = routes;
    r->forget = r->who->ref[0] == 'w';
    r->state = "nothing_to_do";
    if (r->forget) {
        return;
    }
    if (!ref) {
        r->state = "waiting_for_identity";
        r->error_class = l->identity_conflict ? "identity_conflict" : "identity";
        r->error = "no external id is known";
        return;
    }
    for (size_t i = 0; i < w->runs.count; i++) {
        const struct workflow_map *map =
            mapping_find(&k->config->mapping, run_workflow_external_id(&w->runs.runs[i], r->names));

        unmapped = unmapped || !map;
        if (map) {
            add_route(routes, &r->route_count,
                      (struct record_route){.connector = map->connector, .ref = ref, .external_id = external_id});
        }
    }
    if (!own && unmapped) {
        add_route(routes, &r->route_count,
                  (struct record_route){.connector = "", .ref = ref, .external_id = external_id});
    }
    r->forget = !own || (!unmapped && r->route_count > 0);
    if (!r->forget && unmapped) {
        r->state = r->error_class = "unmapped";
        r->error = "no mapping for this workflow";
    }
}

/* The second half of a job: what the ATS answered, and how the candidate stands now. */
static void conclude(struct kit *k, const struct work *w, struct record *r, struct arena *arena)
{
    struct record_result *results = arena_alloc(arena, (w->diff.count + 1) * sizeof *results);
    struct record_call *calls = arena_alloc(arena, (w->diff.count + 1) * sizeof *calls);
    bool dead = false;
    bool pending = false;

    if (!w->is_ahead) {
        *r = (struct record){.who = r->who, .diff = &w->diff};
    }
    r->results = results;
    r->calls = calls;
    r->release = true;
    r->next_due_ms = INT64_MAX;
    for (size_t i = 0; i < w->diff.count; i++) {
        const struct ledger_item *item = &w->diff.items[i];
        struct record_result *res = &results[r->result_count];

        if (item->step != LEDGER_SEND) {
            dead = dead || (item->row && item->row->state == WRITE_DEAD && item->step == LEDGER_KEEP);
            pending = pending || item->due_us != INT64_MAX;
            continue;
        }
        *res = (struct record_result){.item = item, .http_status = 200, .error = ""};
        res->verdict = (struct verdict){.state = WRITE_APPLIED, .error_class = ""};
        if (k->answer) {
            k->answer(item, res);
        }
        dead = dead || res->verdict.state == WRITE_DEAD;
        if (res->verdict.state == WRITE_PENDING) {
            pending = true;
            r->next_due_ms = res->verdict.delay_ms < r->next_due_ms ? res->verdict.delay_ms : r->next_due_ms;
        }
        if (res->error[0]) {
            r->error_class = res->verdict.error_class;
            r->error = res->error;
        }
        calls[r->call_count++] = (struct record_call){.verb = write_kind_name(item->wish->kind),
                                                      .method = "PUT",
                                                      .path = "/candidates",
                                                      .outcome = res->verdict.state == WRITE_APPLIED ? "ok" : "retry",
                                                      .error = res->error,
                                                      .http_status = res->http_status,
                                                      .duration_us = 12500};
        r->result_count++;
    }
    r->failed = pending;
    r->synced = !pending;
    r->next_due_ms = pending && r->next_due_ms == INT64_MAX ? RETRY_MS : r->next_due_ms;
    r->state = pending ? "retrying" : dead ? "dead" : w->diff.count > 0 ? "synced" : "nothing_to_do";
}

static void record_intents(struct kit *k, const struct work *works, struct record *records, size_t count,
                           struct arena *arena)
{
    struct record *some = arena_alloc(arena, (count + 1) * sizeof *some);
    size_t n = 0;
    struct errmsg err;

    for (size_t i = 0; i < count; i++) {
        if (!works[i].is_ahead) {
            some[n++] = records[i];
        }
    }
    assert_done(store_record(k->store, some, n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        assert_false(some[i].lost);
    }
}

static size_t work_once(struct kit *k, const char *connector, bool retries)
{
    struct claim_batch batch;
    struct loaded *loaded = NULL;
    struct name_table *table = NULL;
    struct errmsg err;
    size_t count;

    assert_done(store_claim(k->store, connector, retries, k->owner, k->lease_ms, CLAIM, NULL, &batch, &err), &err);
    assert_done(store_load(k->store, &batch, config_max_history_bytes(k->config), &loaded, &err), &err);
    assert_non_null(loaded);
    assert_done(name_table_read(k->store, &table, &err), &err);
    count = batch.count;
    struct work *works = arena_alloc(batch.arena, (count + 1) * sizeof *works);
    struct record *records = arena_alloc(batch.arena, (count + 1) * sizeof *records);
    struct workflow_names names = name_table_of(table, "popp");

    for (size_t i = 0; i < count; i++) {
        runs_fold(loaded[i].events, loaded[i].event_count, batch.arena, &works[i].runs);
        works[i].runs.settled_us = loaded[i].settled_us;
        records[i] = (struct record){.who = &batch.items[i],
                                     .runs = &works[i].runs,
                                     .mapping = &k->config->mapping,
                                     .names = &names,
                                     .events = loaded[i].events,
                                     .event_count = loaded[i].event_count,
                                     .next_due_ms = INT64_MAX};
        if (connector[0] == '\0') {
            find_place(k, &works[i], &loaded[i], &records[i], batch.arena);
        } else {
            plan_make(&works[i].runs, &k->config->mapping, connector, &names, batch.arena, &works[i].plan);
            ledger_diff(&works[i].plan, loaded[i].rows, loaded[i].row_count, batch.now_us, batch.arena, &works[i].diff);
            records[i].diff = &works[i].diff;
            if (k->waits) {
                ledger_list_only(&works[i].diff);
                records[i].release = records[i].waits = true;
            }
            works[i].is_ahead = k->goes_ahead && works[i].diff.to_send > 0 && !ledger_needs_intent(&works[i].diff);
        }
    }
    record_intents(k, works, records, count, batch.arena);
    if (connector[0] != '\0' && !k->dies && !k->waits) {
        for (size_t i = 0; i < count; i++) {
            conclude(k, &works[i], &records[i], batch.arena);
        }
        assert_done(store_record(k->store, records, count, &err), &err);
    }
    for (size_t i = 0; i < count; i++) {
        assert_false(records[i].lost);
        plan_clear(&works[i].plan);
    }
    name_table_unref(table);
    claim_batch_clear(&batch);
    return count;
}

void kit_resync(struct kit *k)
{
    struct pages pages = {.done = 0};
    struct errmsg err;

    while (!pages.over) {
        assert_done(store_resync(k->store, &(struct filter){.since_us = INT64_MIN}, &pages, &err), &err);
    }
    pages_clear(&pages);
}

size_t kit_work_connector(struct kit *k, const char *connector)
{
    return work_once(k, connector, false) + work_once(k, connector, true);
}

size_t kit_work(struct kit *k)
{
    size_t all = 0;

    for (int round = 0; round < ROUNDS_MAX; round++) {
        size_t n = kit_work_connector(k, "");

        for (size_t i = 0; i < k->config->connector_count; i++) {
            n += kit_work_connector(k, k->config->connectors[i].name);
        }
        all += n;
        if (n == 0) {
            return all;
        }
    }
    fail_msg("candidates are still due after %d rounds", ROUNDS_MAX);
    return all;
}
