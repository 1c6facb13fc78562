#include "service/app.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "lib/httpc.h"
#include "service/admin.h"
#include "service/completer.h"
#include "service/dispatcher.h"
#include "service/janitor.h"
#include "service/notify.h"
#include "service/overseer.h"
#include "service/receiver.h"
#include "service/retention.h"
#include "service/sdnotify.h"
#include "service/settings.h"
#include "service/thread.h"

enum { PROBLEMS_MAX_BYTES = 256 * 1024, DATABASE_LOOK_MS = 50, SCHEMA_WATCH_S = 1 };

struct app {
    const char *config_path;
    struct config *config;
    struct connector_set *connectors;
    struct receiver *receiver;
    /* NULL until the database was seen, and when this daemon only receives */
    _Atomic(struct dispatcher *) dispatchers[DELIVERY_WORKERS_MAX];
    struct notify *notify;
    struct overseer *overseer;
    struct completer *completer;
    struct retention *retention;
    struct admin *admin;
    struct janitor *janitor;
    struct metric *ready;
    bool told_up;
    atomic_bool ending; /* no event is taken any more; what is under way ends */
    bool database_seen;
    int64_t reloads; /* its number makes the lines of each one its own: they are not folded */
};

/* ---- hooks, called in other threads */

static void wake_dispatcher(void *ctx)
{
    struct app *app = ctx;

    for (size_t i = 0; i < ATS_COUNT(app->dispatchers); i++) {
        struct dispatcher *d = atomic_load(&app->dispatchers[i]);

        if (d) {
            dispatcher_wake(d);
        }
    }
}

/* The receiver notices later than others that the database is back: ready is who takes events. */
static int is_ready(void *ctx, struct errmsg *reason)
{
    struct app *app = ctx;

    if (atomic_load(&app->ending)) {
        return err_set(reason, ST_UNAVAILABLE, "the daemon is ending: no events are taken any more");
    }
    switch (receiver_database(app->receiver, reason)) {
    case INGEST_READY:
        return ST_OK;
    case INGEST_CONNECTING:
        return err_set(reason, ST_UNAVAILABLE, "the database is being connected to");
    case INGEST_AWAY:
    case INGEST_SCHEMA_TOO_NEW:
        break;
    }
    return ST_UNAVAILABLE;
}

static void refresh_gauges(void *ctx)
{
    struct app *app = ctx;
    struct errmsg reason;
    /* who takes no events does not notice that the database is away; the overseer does */
    bool ready = is_ready(app, &reason) == ST_OK && metric_sum(overseer_database_gauge(), NULL, NULL) > 0;

    receiver_refresh_gauges(app->receiver);
    metric_set(app->ready, ready ? 1 : 0, NULL, NULL, NULL, NULL);
}

/* What no database knows: webhooks that were refused are not in it. */
static size_t own_problems(void *ctx, struct problem *ret, size_t room)
{
    const struct app *app = ctx;

    return receiver_problems(app->receiver, ret, room);
}

/* ---- start */

static void signals_of(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGHUP);
}

int app_check(const char *config_path)
{
    struct config *config = NULL;
    struct connector_set *connectors = NULL;
    struct buf problems;
    int st;

    buf_init(&problems, PROBLEMS_MAX_BYTES);
    st = settings_load(config_path, &config, &connectors, &problems);
    if (st == ST_OK) {
        printf("%s: no problems found\n", config_path);
    } else {
        fputs(buf_text(&problems), stderr);
    }
    buf_free(&problems);
    connector_set_unref(connectors);
    config_unref(config);
    return st == ST_OK ? EXIT_CLEAN : EXIT_RUNTIME;
}

/* Everything but the dispatcher, which waits for the database (see look_at_database). */
static int start(struct app *app, struct errmsg *err)
{
    int st;

    if ((st = receiver_new(app->config, wake_dispatcher, app, &app->receiver, err)) != ST_OK ||
        (st = admin_new(app->config, app->connectors, is_ready, app, &app->admin, err)) != ST_OK) {
        return st; /* both addresses are ours before anything moves */
    }
    if ((st = receiver_start(app->receiver, err)) != ST_OK || (st = admin_start(app->admin, err)) != ST_OK) {
        return st;
    }
    app->ready = metric_gauge("atsyncd_ready", "1 while events are taken.", "");
    metric_set(overseer_database_gauge(), 0, NULL, NULL, NULL, NULL);
    app->janitor = janitor_new(refresh_gauges, app);
    return janitor_start(app->janitor, err);
}

static int start_work(struct app *app, struct errmsg *err)
{
    int st;

    app->overseer = overseer_new(app->config, own_problems, app);
    app->completer = completer_new(app->config, wake_dispatcher, app);
    app->retention = retention_new(app->config);
    if ((st = overseer_start(app->overseer, err)) != ST_OK || (st = completer_start(app->completer, err)) != ST_OK ||
        (st = retention_start(app->retention, err)) != ST_OK || !app->config->delivery.enabled) {
        return st;
    }
    for (unsigned i = 0; i < (unsigned)app->config->delivery.workers; i++) {
        struct dispatcher *d = dispatcher_new(app->config, app->connectors, i);

        st = dispatcher_start(d, err);
        if (st != ST_OK) {
            dispatcher_free(d);
            return st;
        }
        atomic_store(&app->dispatchers[i], d);
    }
    app->notify = notify_new(app->config, wake_dispatcher, app);
    return notify_start(app->notify, err);
}

/* The address as configured, with the port that the system chose. The caller frees it. */
static char *address_text(const char *listen, unsigned port)
{
    const char *colon = listen ? strrchr(listen, ':') : NULL;

    return colon ? mem_printf("%.*s:%u", (int)(colon - listen), listen, port) : NULL;
}

static void tell_up(struct app *app)
{
    char *receiver = address_text(app->config->receiver.listen, receiver_port(app->receiver));
    char *admin = address_text(app->config->admin.listen, admin_port(app->admin));

    log_info("atsyncd is up", "version", ATSYNC_VERSION, "instance", app->config->instance, "receiver", receiver,
             "admin", admin ? admin : "none", "delivery", app->config->delivery.enabled ? "on" : "off", NULL);
    mem_free(receiver);
    mem_free(admin);
    (void)sdnotify("READY=1");
    app->told_up = true;
}

/*
 * The daemon is up as soon as it is known how the database is, also when it is away: then it answers 503 and waits.
 * Delivery begins when it was seen with a schema that fits. A schema of a newer release that this one must not touch
 * ends the daemon.
 */
static int look_at_database(struct app *app, struct errmsg *err)
{
    enum ingest_state state = receiver_database(app->receiver, err);

    if (state == INGEST_CONNECTING) {
        return ST_OK;
    }
    if (state == INGEST_SCHEMA_TOO_NEW) {
        return ST_CONFLICT;
    }
    if (state == INGEST_READY) {
        int st = start_work(app, err);

        if (st != ST_OK) {
            return st;
        }
        app->database_seen = true;
    }
    if (!app->told_up) {
        tell_up(app);
    }
    return ST_OK;
}

/* ---- reload */

/* Tells each line; returns their number. */
static size_t tell_lines(const struct app *app, const struct buf *lines, void (*tell)(const char *line, const char *n))
{
    const char *at = buf_text(lines);
    size_t count = 0;

    while (*at != '\0') {
        size_t len = strcspn(at, "\n");
        char *line = mem_strndup(at, len);

        if (len > 0) {
            tell(line, num_text(app->reloads).s);
            count++;
        }
        mem_free(line);
        at += len + (at[len] == '\n');
    }
    return count;
}

static void tell_problem(const char *line, const char *n)
{
    log_error("configuration problem", "problem", line, "reload", n, NULL);
}

static void tell_kept(const char *line, const char *n)
{
    log_warn("setting needs a restart", "setting", line, "hint", "the value in use stays until the daemon is restarted",
             "reload", n, NULL);
}

static void tell_change(const char *line, const char *n)
{
    log_info("setting changed", "change", line, "reload", n, NULL);
}

/* For whoever has to notice that a reload was refused, or that a restart is due. */
static void set_gauges(bool adopted, size_t kept)
{
    metric_set(metric_gauge("atsyncd_config_reload_successful",
                            "Whether the configuration could be taken when it was "
                            "last read.",
                            ""),
               adopted ? 1 : 0, NULL, NULL, NULL, NULL);
    if (adopted) {
        metric_set(metric_gauge("atsyncd_config_restart_needed_settings",
                                "Settings of the configuration that wait for a restart.", ""),
                   (double)kept, NULL, NULL, NULL, NULL);
    }
}

/* Only for waking: what is missed meanwhile is found by polling. */
static void restart_notify(struct app *app, const struct config *config)
{
    struct errmsg err;

    if (!app->notify || text_eq(app->config->database.listen_conninfo, config->database.listen_conninfo)) {
        return;
    }
    notify_free(app->notify);
    app->notify = notify_new(config, wake_dispatcher, app);
    if (notify_start(app->notify, &err) != ST_OK) {
        log_error("not listening for other daemons", "error", err.text, NULL);
    }
}

/* The receiver first, as it alone may refuse: then nothing has changed. */
static bool adopt(struct app *app, struct config *config, struct connector_set *connectors)
{
    struct errmsg err = {{0}};

    if (receiver_reload(app->receiver, config, &err) != ST_OK) {
        tell_problem(err.text, num_text(app->reloads).s);
        return false;
    }
    for (size_t i = 0; i < ATS_COUNT(app->dispatchers); i++) {
        struct dispatcher *d = atomic_load(&app->dispatchers[i]);

        if (d) {
            dispatcher_reload(d, config, connectors);
        }
    }
    if (app->overseer) {
        overseer_reload(app->overseer, config);
        retention_reload(app->retention, config);
    }
    if (app->completer) {
        completer_reload(app->completer, config);
    }
    admin_reload(app->admin, config, connectors);
    restart_notify(app, config);
    return true;
}

static void tell_adopted(const struct app *app, const struct config *config, const struct buf *kept)
{
    struct buf changes;
    size_t changed, waiting;

    buf_init(&changes, PROBLEMS_MAX_BYTES);
    config_diff(app->config, config, &changes);
    if (config->log_level < app->config->log_level) { /* at the more talkative of both levels */
        log_setup(config->log_level, config->log_format);
    }
    changed = tell_lines(app, &changes, tell_change);
    waiting = tell_lines(app, kept, tell_kept);
    log_info("configuration reloaded", "changes", num_text((int64_t)changed).s, "restart_needed",
             num_text((int64_t)waiting).s, "reload", num_text(app->reloads).s, NULL);
    log_setup(config->log_level, config->log_format);
    set_gauges(true, waiting);
    buf_free(&changes);
}

static void reload(struct app *app)
{
    struct config *config = NULL;
    struct connector_set *connectors = NULL;
    struct buf problems, kept;

    (void)sdnotify_reloading();
    app->reloads++;
    buf_init(&problems, PROBLEMS_MAX_BYTES);
    buf_init(&kept, PROBLEMS_MAX_BYTES);
    if (settings_load_again(app->config_path, app->config, &config, &connectors, &problems, &kept) == ST_OK &&
        adopt(app, config, connectors)) {
        struct config *old_config = app->config;
        struct connector_set *old_connectors = app->connectors;

        tell_adopted(app, config, &kept);
        app->config = config;
        app->connectors = connectors;
        config = old_config;
        connectors = old_connectors;
    } else {
        (void)tell_lines(app, &problems, tell_problem);
        log_error("configuration not reloaded", "hint", "the settings in use stay as they were", "reload",
                  num_text(app->reloads).s, NULL);
        set_gauges(false, 0);
    }
    connector_set_unref(connectors);
    config_unref(config);
    buf_free(&problems);
    buf_free(&kept);
    (void)sdnotify("READY=1");
}

/* ---- the end */

/* Who asks a second time does not want to wait. */
static void *second_signal_main(void *arg)
{
    const sigset_t *set = arg;
    int number = 0;

    do {
        number = 0;
    } while (sigwait(set, &number) == 0 && number == SIGHUP);
    log_warn("ended at once", "signal", strsignal(number), "hint", "what was under way is taken up at the next start",
             NULL);
    log_finish();
    _exit(EXIT_RUNTIME);
}

static void watch_for_second_signal(const sigset_t *set)
{
    static sigset_t watched; /* the thread lives as long as the process */
    pthread_t thread;
    struct errmsg err;

    watched = *set;
    if (thread_start(&thread, "signals", second_signal_main, &watched, &err) == ST_OK) {
        (void)pthread_detach(thread);
    }
}

/* First the door, so that nothing new comes; then what delivers; last what tells how it goes. */
static void stop(struct app *app)
{
    struct dispatcher *dispatchers[DELIVERY_WORKERS_MAX];

    atomic_store(&app->ending, true);
    if (app->ready) {
        refresh_gauges(app);
    }
    for (size_t i = 0; i < ATS_COUNT(dispatchers); i++) {
        dispatchers[i] = atomic_load(&app->dispatchers[i]);
    }
    if (app->receiver) {
        receiver_stop(app->receiver);
        receiver_join(app->receiver);
    }
    if (app->notify) {
        notify_free(app->notify);
    }
    completer_free(app->completer);
    for (size_t i = 0; i < ATS_COUNT(dispatchers) && dispatchers[i]; i++) {
        dispatcher_stop(dispatchers[i]);
    }
    for (size_t i = 0; i < ATS_COUNT(dispatchers) && dispatchers[i]; i++) {
        dispatcher_join(dispatchers[i]);
    }
    retention_free(app->retention);
    overseer_free(app->overseer);
    janitor_free(app->janitor);
    admin_stop(app->admin);
    admin_join(app->admin);
    admin_free(app->admin);
    for (size_t i = 0; i < ATS_COUNT(dispatchers); i++) {
        atomic_store(&app->dispatchers[i], NULL);
        dispatcher_free(dispatchers[i]);
    }
    receiver_free(app->receiver);
}

/* Until a signal ends the daemon (ST_OK) or it cannot go on. */
static int run(struct app *app, const sigset_t *set, struct errmsg *err)
{
    const struct timespec look = {.tv_nsec = DATABASE_LOOK_MS * 1000000L};
    const struct timespec watch = {.tv_sec = SCHEMA_WATCH_S};

    for (;;) {
        siginfo_t info;
        int number = sigtimedwait(set, &info, app->database_seen ? &watch : &look);
        int st;

        if (number == SIGHUP) {
            reload(app);
        } else if (number == SIGTERM || number == SIGINT) {
            log_info("atsyncd is ending", "signal", strsignal(number), NULL);
            return ST_OK;
        } else if (!app->database_seen && (st = look_at_database(app, err)) != ST_OK) {
            return st;
        } else if (app->database_seen && overseer_schema_is_too_new(app->overseer)) {
            return err_set(err, ST_CONFLICT,
                           "a newer release has brought the database to a schema that this one must not work on: "
                           "install the newer release");
        }
    }
}

/*
 * The usual limit of 1024 is for programs that use select(2). Here each connection is a descriptor, and a crowd of them
 * would leave none for PostgreSQL and the ATS.
 */
static void allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int app_run(const char *config_path)
{
    struct app app = {.config_path = config_path};
    struct buf problems;
    struct errmsg err = {{0}};
    sigset_t set;
    int st;

    allow_descriptors();
    signals_of(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    buf_init(&problems, PROBLEMS_MAX_BYTES);
    st = settings_load(config_path, &app.config, &app.connectors, &problems);
    if (st != ST_OK) {
        fputs(buf_text(&problems), stderr);
        buf_free(&problems);
        return EXIT_CONFIG;
    }
    buf_free(&problems);
    log_setup(app.config->log_level, app.config->log_format);
    set_gauges(true, 0);
    httpc_global_init();
    st = start(&app, &err);
    if (st == ST_OK) {
        st = run(&app, &set, &err);
    }
    if (st != ST_OK) {
        log_error("atsyncd cannot go on", "error", err.text, NULL);
    }
    (void)sdnotify("STOPPING=1");
    watch_for_second_signal(&set);
    stop(&app);
    connector_set_unref(app.connectors);
    config_unref(app.config);
    log_info("atsyncd has ended", NULL);
    log_finish();
    return st == ST_OK ? EXIT_CLEAN : EXIT_RUNTIME;
}
