/*
 * An entry is a connector that gets tokens. What its thread does with it, again and again:
 *   nothing wanted, or not yet time    nothing
 *   something wanted                   claim the lease; what is stored and good is taken as it is
 *   the lease is ours                  a run: request, answer, store, …, until it is done or has failed
 *   the lease is another daemon's      look again soon
 */
#include "service/tokens.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "config/sealing.h"
#include "connector/remedy.h"
#include "lib/crypto.h"
#include "lib/httpc.h"
#include "lib/json.h"
#include "service/thread.h"
#include "store/tokens.h"

enum {
    CONNECTIONS_MAX = 16,
    ANSWER_MAX_BYTES = 256 * 1024,
    WAIT_MS = 1000,
    LOOK_AGAIN_MS = 200, /* while another daemon renews */
    DATABASE_AGAIN_MS = 500,
    RESEAL_AGAIN_MS = 5000, /* while the database is away */
    TIMEOUT_MAX_MS = 30000,
    LEASE_SPARE_MS = 5000, /* beyond what the requests may take */
    FAILED_MIN_MS = 1000,
    FAILED_MAX_MS = 60000,
    IDLE_FAILED_MS = 60000, /* until the next try when nobody asks */
    STOP_TRIES = 10,        /* at storing while stopping with the database away */
};

struct entry {
    struct tokens *owner;
    char *name;
    /* guarded by the mutex */
    struct auth *next_auth; /* of another configuration, to be used when nothing is under way; NULL: none */
    char *problem;          /* why the configuration in use cannot be worked with; NULL: it can */
    bool wanted;
    int64_t refused;          /* the highest serial that was not accepted any more */
    struct auth_grant *grant; /* made of tokens; NULL: none */
    bool failed;
    struct tokens_failure failure;
    int64_t failed_until_ms;
    struct auth_tokens *tokens; /* changed by the thread only, under the mutex */
    struct auth *auth;          /* likewise; NULL before the first was adopted */
    int64_t version;            /* likewise: of tokens */
    /* the thread's own */
    struct auth_run *run;
    bool in_flight;
    bool unsaved; /* the database was away when tokens were to be stored */
    int save_failures;
    bool read;        /* what is stored was looked at once */
    int64_t again_ms; /* not before this is anything done for it */
    unsigned failures;
    struct entry *next;
};

struct tokens {
    void (*changed)(void *ctx);
    void *ctx;
    char *owner;
    struct sealing *sealing; /* the thread's own */
    struct store *store;
    struct httpc *http;
    pthread_t thread;
    bool started;
    bool database_away;
    bool resealed; /* what was sealed with an older key has been sealed with the one that seals now */
    int64_t reseal_at_ms;
    pthread_mutex_t mutex;
    bool stopping;
    struct sealing *next_sealing; /* of another configuration; NULL: none */
    struct entry *entries;        /* grows only, until the end */
    struct metric *renewals;
};

static void lock(struct tokens *t)
{
    (void)pthread_mutex_lock(&t->mutex);
}

static void unlock(struct tokens *t)
{
    (void)pthread_mutex_unlock(&t->mutex);
}

/* ---- what others ask ------------------------------------------------------------------------------------------------
 */

static struct entry *find_entry(const struct tokens *t, const char *name)
{
    struct entry *e = t->entries;

    while (e != NULL && strcmp(e->name, name) != 0)
        e = e->next;
    return e;
}

static void set_failure(struct tokens_failure *f, const char *error_class, const char *message, int64_t retry_after_ms)
{
    snprintf(f->error_class, sizeof f->error_class, "%s", error_class);
    f->message[text_utf8_cut(message, strlen(message), sizeof f->message - 1)] = '\0';
    memcpy(f->message, message, text_utf8_cut(message, strlen(message), sizeof f->message - 1));
    f->retry_after_ms = retry_after_ms;
}

static bool has_good_grant(const struct entry *e)
{
    return e->grant != NULL && e->next_auth == NULL && e->grant->serial == e->version && e->version > e->refused &&
           auth_tokens_usable(e->auth, e->tokens, clock_wall_us());
}

enum tokens_answer tokens_get(struct tokens *t, const char *connector, int64_t refused, struct auth_grant **ret,
                              struct tokens_failure *failure)
{
    enum tokens_answer answer = TOKENS_WAIT;
    struct entry *e;

    lock(t);
    e = find_entry(t, connector);
    if (e != NULL && refused > e->refused)
        e->refused = refused;
    if (e == NULL || e->problem != NULL) {
        set_failure(failure, "configuration", e != NULL ? e->problem : "the connector is not in the configuration", -1);
        answer = TOKENS_FAILED;
    } else if (has_good_grant(e)) {
        *ret = auth_grant_ref(e->grant);
        answer = TOKENS_READY;
    } else if (e->failed && clock_mono_ms() < e->failed_until_ms) {
        *failure = e->failure;
        answer = TOKENS_FAILED;
    } else {
        e->wanted = true;
    }
    unlock(t);
    if (answer == TOKENS_WAIT)
        httpc_wake(t->http);
    return answer;
}

/* ---- ends of a run --------------------------------------------------------------------------------------------------
 */

static void end_run(struct entry *e)
{
    auth_run_free(e->run);
    e->run = NULL;
    e->unsaved = false;
    e->save_failures = 0;
}

static void tell(struct tokens *t)
{
    t->changed(t->ctx);
}

/* The database did not do what it should; who waits goes on waiting, as it could not record anything either. */
static void database_failed(struct tokens *t, struct entry *e, int st, const struct errmsg *err)
{
    if (!t->database_away)
        log_error("tokens cannot be read or stored", "connector", e->name, "error", err->text, "status",
                  status_name(st), NULL);
    t->database_away = true;
    e->again_ms = clock_mono_ms() + DATABASE_AGAIN_MS;
}

static void database_worked(struct tokens *t)
{
    if (t->database_away)
        log_info("tokens can be read and stored again", NULL);
    t->database_away = false;
}

static void set_tokens(struct entry *e, struct auth_tokens *tokens, int64_t version)
{
    lock(e->owner);
    auth_tokens_free(e->tokens);
    e->tokens = tokens;
    e->version = version;
    unlock(e->owner);
    e->read = true;
}

static void release(struct tokens *t, const struct entry *e)
{
    struct errmsg err;

    if (store_token_release(t->store, e->name, t->owner, &err) != ST_OK)
        log_debug("the right to renew tokens ends by itself", "connector", e->name, "error", err.text, NULL);
}

/* Candidates wait then, also those of other daemons, until the configuration changes or an operator lets it go on. */
static void stop_connector(struct tokens *t, const struct entry *e, const struct tokens_failure *f)
{
    char fingerprint[CONFIG_FINGERPRINT_BYTES];
    struct arena *arena = arena_new();
    struct remedy r = remedy_of(connector_module_meta(auth_module(e->auth)), auth_connector(e->auth), f->error_class,
                                f->message, arena);
    struct errmsg err;

    config_connector_fingerprint(auth_connector(e->auth), fingerprint);
    if (store_connector_pause(t->store, e->name, r.reason, r.hint, fingerprint, &err) != ST_OK)
        log_error("a connector could not be stopped", "connector", e->name, "error", err.text, NULL);
    arena_free(arena);
}

static void fail(struct tokens *t, struct entry *e, const struct auth_failure *f)
{
    bool is_ours_to_mend = strcmp(f->error_class, "credentials") == 0 || strcmp(f->error_class, "configuration") == 0;
    int64_t now_ms = clock_mono_ms();
    int64_t wait_ms = is_ours_to_mend ? FAILED_MIN_MS : (int64_t)FAILED_MIN_MS << (e->failures < 6 ? e->failures : 6);
    bool wanted, outdated;

    wait_ms = wait_ms < FAILED_MAX_MS ? wait_ms : FAILED_MAX_MS;
    wait_ms = f->retry_after_ms > wait_ms ? f->retry_after_ms : wait_ms;
    e->failures++;
    lock(t);
    outdated = e->next_auth != NULL; /* the configuration has changed meanwhile: it deserves a try of its own */
    if (!outdated) {
        set_failure(&e->failure, f->error_class, f->message, f->retry_after_ms);
        e->failed = true;
        e->failed_until_ms = now_ms + wait_ms;
    }
    wanted = e->wanted;
    e->wanted = wanted && outdated;
    unlock(t);
    if (outdated) {
        end_run(e);
        return;
    }
    e->again_ms = now_ms + (wanted ? wait_ms : IDLE_FAILED_MS);
    metric_add(t->renewals, 1, e->name, f->error_class, NULL, NULL);
    log_warn("cannot sign in at the ATS", "connector", e->name, "class", e->failure.error_class, "error",
             e->failure.message, "hint",
             is_ours_to_mend ? "the connector is stopped until its configuration changes" : "it is tried again", NULL);
    if (is_ours_to_mend)
        stop_connector(t, e, &e->failure);
    end_run(e);
    tell(t);
}

static void fail_with(struct tokens *t, struct entry *e, const char *error_class, const char *message)
{
    fail(t, e, &(struct auth_failure){.error_class = error_class, .message = message, .retry_after_ms = -1});
}

/* The tokens of this entry are good: whoever waits may go on. */
static void publish(struct tokens *t, struct entry *e)
{
    struct auth_grant *grant = NULL;
    struct auth_grant *old;
    struct errmsg err;

    if (auth_grant_make(e->auth, e->tokens, e->version, &grant, &err) != ST_OK) {
        fail_with(t, e, "configuration", err.text);
        return;
    }
    lock(t);
    old = e->grant;
    e->grant = grant;
    e->failed = false;
    e->wanted = false;
    unlock(t);
    auth_grant_unref(old);
    e->failures = 0;
    e->again_ms = 0;
    end_run(e);
    tell(t);
}

/* ---- stored tokens --------------------------------------------------------------------------------------------------
 */

static char *context_of(const char *connector)
{
    return mem_printf("connector_token:%s", connector);
}

/* Makes what is stored the entry's own, if it is newer. ST_DENIED: it does not open, and cannot be done without. */
static int take_over(struct tokens *t, struct entry *e, const struct token_row *row, struct errmsg *err)
{
    struct auth_tokens *tokens = NULL;
    char *context, *text = NULL;
    int st;

    if (row->version < e->version) { /* somebody has emptied the table: serials begin anew */
        lock(t);
        e->refused = 0;
        unlock(t);
    }
    if (e->read && row->version == e->version)
        return ST_OK;
    if (row->sealed == NULL) {
        set_tokens(e, NULL, row->version);
        return ST_OK;
    }
    context = context_of(e->name);
    st = sealing_open(t->sealing, row->sealed, context, &text, NULL, err);
    if (st == ST_OK)
        st = auth_tokens_parse(text, &tokens, err);
    mem_free_secret(text);
    mem_free(context);
    /* what can be got anew, or belongs to a first token that is not configured any more, is no loss */
    if (st != ST_OK && *auth_seed(e->auth) != '\0' && crypto_text_equal(row->seed, auth_seed(e->auth)))
        return err_set(
            err, ST_DENIED,
            "the stored tokens do not open with database.encryption_key: restore the key that they were sealed "
            "with, or authorise atsyncd anew and configure the new refresh token");
    set_tokens(e, tokens, row->version);
    return ST_OK;
}

static int save(struct tokens *t, struct entry *e, bool last, struct errmsg *err)
{
    const struct auth_tokens *tokens = auth_run_tokens(e->run);
    char *context = context_of(e->name);
    char *text = auth_tokens_text(tokens);
    char *sealed = sealing_seal(t->sealing, text, context);
    int st = store_token_save(t->store, e->name, e->version, auth_seed(e->auth), sealed, last, err);

    if (st == ST_OK)
        set_tokens(e, auth_tokens_copy(tokens), e->version + 1);
    mem_free(sealed);
    mem_free_secret(text);
    mem_free(context);
    return st;
}

/* ---- another key ----------------------------------------------------------------------------------------------------
 */

struct sealed_row {
    const char *connector, *sealed;
    int64_t version;
    struct sealed_row *next;
};

struct resealing {
    struct arena *arena;
    struct sealed_row *rows;
};

static void note_row(void *ctx, const char *connector, int64_t version, const char *sealed)
{
    struct resealing *r = ctx;
    struct sealed_row *row = arena_alloc(r->arena, sizeof *row);

    *row = (struct sealed_row){.connector = arena_strdup(r->arena, connector),
                               .sealed = arena_strdup(r->arena, sealed),
                               .version = version,
                               .next = r->rows};
    r->rows = row;
}

/* What cannot be opened is told when it is needed; what others have replaced meanwhile was sealed by them. */
static int reseal_row(struct tokens *t, const struct sealed_row *row, struct errmsg *err)
{
    char *context = context_of(row->connector);
    char *plain = NULL;
    bool old = false;
    int st = ST_OK;

    if (sealing_open(t->sealing, row->sealed, context, &plain, &old, NULL) == ST_OK && old) {
        char *sealed = sealing_seal(t->sealing, plain, context);

        st = store_token_reseal(t->store, row->connector, row->version, row->sealed, sealed, err);
        if (st == ST_OK)
            log_info("stored tokens are encrypted with the new key now", "connector", row->connector, NULL);
        st = st == ST_CONFLICT ? ST_OK : st;
        mem_free(sealed);
    }
    mem_free_secret(plain);
    mem_free(context);
    return st;
}

/* Once after the start and each reload: the tokens of all connectors, also of those that are not in the configuration. */
static void reseal(struct tokens *t)
{
    struct resealing r = {.arena = arena_new()};
    struct errmsg err;
    int st = store_token_list(t->store, note_row, &r, &err);

    for (const struct sealed_row *row = r.rows; row != NULL && st == ST_OK; row = row->next)
        st = reseal_row(t, row, &err);
    t->resealed = st == ST_OK;
    t->reseal_at_ms = clock_mono_ms() + RESEAL_AGAIN_MS;
    arena_free(r.arena);
}

/* ---- a run ----------------------------------------------------------------------------------------------------------
 */

static void go_on(struct tokens *t, struct entry *e);

static void answered(void *ctx, const struct httpc_response *response)
{
    struct entry *e = ctx;

    e->in_flight = false;
    auth_run_answer(e->run, response, clock_wall_us());
    go_on(e->owner, e);
}

static int64_t timeout_of(const struct entry *e)
{
    int64_t ms = connector_limits_of(auth_module(e->auth), auth_connector(e->auth)).timeout_ms;

    return ms < TIMEOUT_MAX_MS ? ms : TIMEOUT_MAX_MS;
}

static int64_t lease_of(const struct entry *e)
{
    const struct json *auth = json_get(connector_module_meta(auth_module(e->auth)), "auth");
    size_t steps = json_count(json_get(auth, "steps"));

    return timeout_of(e) * (int64_t)(steps > 0 ? steps : 1) + LEASE_SPARE_MS;
}

static void send_request(struct tokens *t, struct entry *e)
{
    const struct request *q = auth_run_request(e->run);
    const struct connector_config *c = auth_connector(e->auth);
    struct connector_limits limits = connector_limits_of(auth_module(e->auth), c);
    struct httpc_request request = {
        .method = q->method,
        .url = q->url,
        .headers = q->headers,
        .header_count = q->header_count,
        .body = q->body,
        .body_len = q->body_len,
        .timeout_ms = (int)timeout_of(e),
        .response_max_bytes = ANSWER_MAX_BYTES,
        .http1_only = limits.http1_only,
        .redirect_hosts = limits.redirect_hosts,
        .ca_file = c->ca_file,
        .client_cert_file = c->client_certificate_file,
        .client_key_file = c->client_key_file,
        .proxy = c->proxy,
        .allow_private_address = request_allows_private(c),
    };

    e->in_flight = true;
    httpc_start(t->http, &request, answered, e);
}

/* Another daemon may have renewed with the same refresh token before its lease had ended: then ours was the old one. */
static bool others_were_faster(struct tokens *t, struct entry *e)
{
    struct token_row row = {0};
    struct errmsg err;
    bool newer = store_token_read(t->store, e->name, &row, &err) == ST_OK && row.version > e->version;

    token_row_clear(&row);
    return newer;
}

static void store_step(struct tokens *t, struct entry *e, bool last)
{
    struct errmsg err;
    int st = save(t, e, last, &err);

    if (st == ST_CONFLICT) {
        log_warn("another daemon has renewed the tokens at the same time; its ones are used", "connector", e->name,
                 NULL);
        end_run(e);
        e->again_ms = 0;
        return;
    }
    if (st != ST_OK) {
        e->unsaved = true;
        e->save_failures++;
        database_failed(t, e, st, &err);
        return;
    }
    database_worked(t);
    e->unsaved = false;
    if (!last) {
        auth_run_stored(e->run);
        go_on(t, e);
        return;
    }
    log_info("signed in at the ATS", "connector", e->name, "version", num_text(e->version).s, NULL);
    metric_add(t->renewals, 1, e->name, "ok", NULL, NULL);
    publish(t, e);
}

static void go_on(struct tokens *t, struct entry *e)
{
    switch (auth_run_next(e->run)) {
    case AUTH_SEND:
        send_request(t, e);
        break;
    case AUTH_STORE:
        store_step(t, e, false);
        break;
    case AUTH_DONE:
        store_step(t, e, true);
        break;
    case AUTH_FAILED:
        if (others_were_faster(t, e)) {
            end_run(e);
            e->again_ms = 0;
        } else {
            fail(t, e, auth_run_failure(e->run));
        }
        release(t, e);
        break;
    }
}

/* ---- the thread -----------------------------------------------------------------------------------------------------
 */

static bool is_due_by_itself(const struct entry *e)
{
    return clock_wall_us() >= auth_tokens_keep_alive_us(e->auth, e->tokens);
}

static void acquire(struct tokens *t, struct entry *e, int64_t refused)
{
    struct token_row row = {0};
    struct errmsg err;
    int st = store_token_claim(t->store, e->name, t->owner, lease_of(e), &row, &err);

    if (st != ST_OK) {
        database_failed(t, e, st, &err);
        return;
    }
    database_worked(t);
    st = take_over(t, e, &row, &err);
    if (st != ST_OK) {
        fail_with(t, e, "configuration", err.text);
        release(t, e);
    } else if (auth_tokens_usable(e->auth, e->tokens, clock_wall_us()) && e->version > refused &&
               !is_due_by_itself(e)) {
        if (row.is_ours)
            release(t, e);
        publish(t, e);
    } else if (!row.is_ours) {
        e->again_ms = clock_mono_ms() + LOOK_AGAIN_MS;
    } else {
        e->run = auth_run_new(e->auth, e->tokens);
        go_on(t, e);
    }
    token_row_clear(&row);
}

/* Another configuration takes effect. */
static void adopt(struct tokens *t, struct entry *e)
{
    struct auth *old = NULL;
    struct auth_grant *old_grant = NULL;

    lock(t);
    if (e->next_auth != NULL) {
        old = e->auth;
        e->auth = e->next_auth;
        e->next_auth = NULL;
        if (old == NULL || !crypto_text_equal(auth_digest(old), auth_digest(e->auth))) {
            old_grant = e->grant;
            e->grant = NULL;
            e->failed = false;
            e->failures = 0;
            e->again_ms = 0;
            e->read = false;
        }
    }
    unlock(t);
    auth_grant_unref(old_grant);
    auth_free(old);
}

/* Moves an entry on; returns how long nothing will be due for it. */
static int64_t step_entry(struct tokens *t, struct entry *e, bool stopping)
{
    int64_t now_ms = clock_mono_ms();
    int64_t refused;
    bool wanted, blocked;

    if (e->in_flight)
        return WAIT_MS;
    if (e->run == NULL)
        adopt(t, e);
    lock(t);
    wanted = e->wanted && !has_good_grant(e);
    e->wanted = wanted;
    refused = e->refused;
    blocked = stopping || e->problem != NULL || e->auth == NULL;
    unlock(t);
    if (!e->unsaved && (blocked || (!wanted && !is_due_by_itself(e))))
        return WAIT_MS;
    if (now_ms < e->again_ms)
        return e->again_ms - now_ms;
    if (e->unsaved)
        store_step(t, e, auth_run_next(e->run) == AUTH_DONE);
    else
        acquire(t, e, refused);
    return e->in_flight ? WAIT_MS : LOOK_AGAIN_MS;
}

static bool is_busy(const struct entry *e, bool stopping)
{
    return e->in_flight || (e->unsaved && !(stopping && e->save_failures > STOP_TRIES));
}

static void adopt_keys(struct tokens *t)
{
    struct sealing *next;

    lock(t);
    next = t->next_sealing;
    t->next_sealing = NULL;
    unlock(t);
    if (next != NULL) {
        sealing_free(t->sealing);
        t->sealing = next;
        t->resealed = false;
        t->reseal_at_ms = 0;
    }
}

static void *tokens_main(void *arg)
{
    struct tokens *t = arg;

    for (;;) {
        int64_t wait_ms = WAIT_MS;
        struct entry *entries;
        bool stopping, busy = false;

        lock(t);
        stopping = t->stopping;
        entries = t->entries;
        unlock(t);
        adopt_keys(t);
        if (!t->resealed && !stopping && clock_mono_ms() >= t->reseal_at_ms)
            reseal(t);
        for (struct entry *e = entries; e != NULL; e = e->next) {
            int64_t ms = step_entry(t, e, stopping);

            wait_ms = ms < wait_ms ? ms : wait_ms;
            busy = busy || is_busy(e, stopping);
        }
        if (stopping && !busy)
            break;
        (void)httpc_poll(t->http, (int)wait_ms);
    }
    for (struct entry *e = t->entries; e != NULL; e = e->next) {
        if (e->unsaved)
            log_error("a renewed token could not be stored before the end", "connector", e->name, "hint",
                      "the old one is tried at the next start; if it is refused, authorise anew", NULL);
    }
    return NULL;
}

/* ---- life -----------------------------------------------------------------------------------------------------------
 */

static void configure(struct tokens *t, struct config *c, const struct connector_config *connector,
                      struct connector_module *m)
{
    struct entry *e = find_entry(t, connector->name);
    struct auth *auth = NULL;
    struct errmsg err;
    int st = auth_new(m, c, connector, &auth, &err);

    if (e == NULL) {
        e = mem_zalloc(sizeof *e);
        e->owner = t;
        e->name = mem_strdup(connector->name);
        e->next = t->entries;
        t->entries = e;
    }
    mem_free(e->problem);
    e->problem = st == ST_OK ? NULL : mem_strdup(err.text);
    auth_free(e->next_auth);
    e->next_auth = auth;
    e->failed =
        e->failed && auth != NULL && e->auth != NULL && crypto_text_equal(auth_digest(auth), auth_digest(e->auth));
}

void tokens_reload(struct tokens *t, struct config *c, struct connector_set *connectors)
{
    struct sealing *unused;

    store_reload(t->store, c);
    lock(t);
    unused = t->next_sealing;
    t->next_sealing = sealing_new(c);
    for (struct entry *e = t->entries; e != NULL; e = e->next) {
        if (config_connector(c, e->name) == NULL) {
            mem_free(e->problem);
            e->problem = mem_strdup("the connector is not in the configuration any more");
        }
    }
    for (size_t i = 0; i < c->connector_count; i++) {
        struct connector_module *m = connector_set_find(connectors, c->connectors[i].name);

        if (m != NULL && auth_gets_tokens(connector_module_meta(m)))
            configure(t, c, &c->connectors[i], m);
    }
    unlock(t);
    sealing_free(unused);
    httpc_wake(t->http);
}

struct tokens *tokens_new(struct config *c, struct connector_set *connectors, void (*changed)(void *ctx), void *ctx)
{
    struct tokens *t = mem_zalloc(sizeof *t);

    t->changed = changed;
    t->ctx = ctx;
    t->owner = store_owner_name(c->instance, 0);
    t->store = store_new(c, "tokens");
    t->http = httpc_new(CONNECTIONS_MAX, "atsyncd/" ATSYNC_VERSION);
    (void)pthread_mutex_init(&t->mutex, NULL);
    t->renewals =
        metric_counter("atsyncd_token_renewals_total", "Sign-ins at ATSs, by what became of them.", "connector,result");
    tokens_reload(t, c, connectors);
    return t;
}

int tokens_start(struct tokens *t, struct errmsg *err)
{
    int st = thread_start(&t->thread, "tokens", tokens_main, t, err);

    t->started = st == ST_OK;
    return st;
}

void tokens_stop(struct tokens *t)
{
    lock(t);
    t->stopping = true;
    unlock(t);
    httpc_wake(t->http);
}

void tokens_join(struct tokens *t)
{
    if (t->started) {
        (void)pthread_join(t->thread, NULL);
        t->started = false;
    }
}

void tokens_free(struct tokens *t)
{
    if (t == NULL)
        return;
    if (t->started) {
        tokens_stop(t);
        tokens_join(t);
    }
    httpc_free(t->http);
    while (t->entries != NULL) {
        struct entry *e = t->entries;

        t->entries = e->next;
        auth_run_free(e->run);
        auth_grant_unref(e->grant);
        auth_tokens_free(e->tokens);
        auth_free(e->auth);
        auth_free(e->next_auth);
        mem_free(e->problem);
        mem_free(e->name);
        mem_free(e);
    }
    store_free(t->store);
    sealing_free(t->sealing);
    sealing_free(t->next_sealing);
    mem_free(t->owner);
    (void)pthread_mutex_destroy(&t->mutex);
    mem_free(t);
}
