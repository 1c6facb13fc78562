#include "lib/db.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <libpq-fe.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

enum { PREPARED_MAX = 64, QUEUED_MAX = 48, CONNINFO_MAX_BYTES = 64 * 1024 };
/* Each time twice as long: a table that has just become large grows most in proportion. */
enum { PLANS_FIRST_MS = 1000, PLANS_MAX_MS = 60000 };

struct queued {
    const struct sql_stmt *stmt;
    bool prepares; /* its preparation, not its execution */
    enum db_shape shape;
    struct db_result **ret;
    void (*answered)(void *ctx); /* NULL: nobody is told of it before the end of the whole */
    void *ctx;
};

struct db {
    char *conninfo;
    char *application_name;
    PGconn *conn; /* NULL when not connected */
    atomic_int timeout_ms;
    const char *session; /* settings of each connection; NULL: none */
    char sqlstate[6];
    bool pooled;                                   /* a pooler stands between */
    bool unprepared;                               /* something in between does not keep prepared statements */
    const struct sql_stmt *prepared[PREPARED_MAX]; /* on this connection */
    unsigned prepared_count;
    int64_t plans_until_ms;           /* when the plans of what is prepared are made anew */
    int64_t plans_ms;                 /* how long they are kept */
    struct queued queued[QUEUED_MAX]; /* sent, and their answers not read yet */
    unsigned queued_count;
    struct errmsg queue_error;
    int queue_status; /* of the first that could not be sent */
};

struct db_result {
    PGresult *pg;
};

/* ---- connection --------------------------------------------------------------------------------------------------- */

struct db *db_new(const char *conninfo, const char *application_name)
{
    struct db *db = mem_zalloc(sizeof *db);

    db->conninfo = mem_strdup(conninfo);
    db->application_name = mem_strdup(application_name);
    atomic_init(&db->timeout_ms, 30000);
    return db;
}

void db_free(struct db *db)
{
    if (!db) {
        return;
    }
    db_disconnect(db);
    mem_free_secret(db->conninfo);
    mem_free(db->application_name);
    mem_free(db);
}

void db_set_timeout(struct db *db, int timeout_ms)
{
    atomic_store(&db->timeout_ms, timeout_ms);
}

void db_set_session(struct db *db, const char *statements)
{
    db->session = statements;
}

void db_disconnect(struct db *db)
{
    PQfinish(db->conn);
    db->conn = NULL;
    db->prepared_count = 0;
}

bool db_is_pooled(const struct db *db)
{
    return db->conn && db->pooled;
}

bool db_is_connected(const struct db *db)
{
    return db->conn != NULL;
}

int db_server_version(struct db *db)
{
    return db->conn ? PQserverVersion(db->conn) : 0;
}

const char *db_sqlstate(const struct db *db)
{
    return db->sqlstate;
}

/* libpq's messages end in a line break and may go over several lines: one line for our errmsg. */
static int fail_text(struct errmsg *err, int st, const char *what, const char *message)
{
    char line[400];
    size_t n = 0;

    for (const char *p = message; *p && n + 1 < sizeof line; p++) {
        if (*p != '\n') {
            line[n++] = *p;
        } else if (p[1] != '\0' && n + 2 < sizeof line) {
            line[n++] = ';';
            line[n++] = ' ';
        }
    }
    line[n] = '\0';
    return err_set(err, st, "%s: %s", what, line);
}

static void ignore_notice(void *ctx, const PGresult *result)
{
    (void)ctx;
    (void)result;
}

/* What the caller's conninfo does not say itself gets our limits, so that a dead peer is noticed within seconds. What we send is UTF-8, whatever it says. */
static PGconn *connect_with_defaults(const struct db *db, char **ret_error)
{
    static const char *const defaults[][2] = {
        {"connect_timeout", "5"},     {"tcp_user_timeout", "10000"}, {"keepalives_idle", "10"},
        {"keepalives_interval", "5"}, {"keepalives_count", "3"},     {"target_session_attrs", "read-write"},
        {"client_encoding", "UTF8"},
    };
    enum { EXTRA = ATS_COUNT(defaults) + 2 };
    PQconninfoOption *given = PQconninfoParse(db->conninfo, ret_error);
    const char **keys;
    const char **values;
    size_t count = 0;
    size_t n = 0;
    PGconn *conn;

    if (!given) {
        return NULL;
    }
    for (PQconninfoOption *o = given; o->keyword; o++) {
        count++;
    }
    keys = mem_array(count + EXTRA, sizeof *keys);
    values = mem_array(count + EXTRA, sizeof *values);
    for (PQconninfoOption *o = given; o->keyword; o++) {
        if (o->val && strcmp(o->keyword, "client_encoding") != 0) {
            keys[n] = o->keyword;
            values[n++] = o->val;
        }
    }
    for (size_t i = 0; i < ATS_COUNT(defaults); i++) {
        bool said = false;

        for (size_t k = 0; k < n; k++) {
            said = said || strcmp(keys[k], defaults[i][0]) == 0;
        }
        if (!said) {
            keys[n] = defaults[i][0];
            values[n++] = defaults[i][1];
        }
    }
    keys[n] = "fallback_application_name";
    values[n++] = db->application_name;
    conn = PQconnectStartParams(keys, values, 0);
    if (conn) {
        /* Before a receiver is set, libpq prints what a server that is shut down says to a connection in the making on standard error, in between the lines of
         * the log. This begins once more, as PQconnectdbParams would have, with its time limit for each host. */
        PQsetNoticeReceiver(conn, ignore_notice, NULL);
        PQreset(conn);
    }
    mem_free(keys);
    mem_free(values);
    PQconninfoFree(given);
    return conn;
}

/* ---- connection strings */

bool db_conninfo_is_valid(const char *conninfo)
{
    PQconninfoOption *given = PQconninfoParse(conninfo, NULL);
    bool is_valid = given != NULL;

    PQconninfoFree(given);
    return is_valid;
}

char *db_conninfo_value(const char *conninfo, const char *keyword)
{
    PQconninfoOption *given = PQconninfoParse(conninfo, NULL);
    char *value = NULL;

    for (PQconninfoOption *o = given; o && o->keyword; o++) {
        if (strcmp(o->keyword, keyword) == 0) {
            value = mem_strdup(o->val);
        }
    }
    PQconninfoFree(given);
    return value;
}

static void add_word(struct buf *out, const char *keyword, const char *value)
{
    buf_printf(out, "%s%s='", out->len > 0 ? " " : "", keyword);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\'' || *p == '\\') {
            buf_putc(out, '\\');
        }
        buf_putc(out, *p);
    }
    buf_putc(out, '\'');
}

/* The value that the pairs give the keyword; *ret_given tells whether they name it. */
static const char *changed_value(va_list pairs, const char *keyword, bool *ret_given)
{
    const char *name;
    const char *found = NULL;
    va_list ap;

    *ret_given = false;
    va_copy(ap, pairs);
    while ((name = va_arg(ap, const char *)) != NULL) {
        const char *value = va_arg(ap, const char *);

        if (strcmp(name, keyword) == 0) {
            *ret_given = true;
            found = value;
        }
    }
    va_end(ap);
    return found;
}

char *db_conninfo_with(const char *conninfo, ...)
{
    PQconninfoOption *all = PQconninfoParse(conninfo, NULL);
    struct buf out;
    char *text;
    va_list pairs;

    if (!all) {
        return NULL;
    }
    buf_init(&out, CONNINFO_MAX_BYTES);
    va_start(pairs, conninfo);
    for (PQconninfoOption *o = all; o->keyword; o++) {
        bool given;
        const char *changed = changed_value(pairs, o->keyword, &given);
        const char *value = given ? changed : o->val;

        if (value) {
            add_word(&out, o->keyword, value);
        }
    }
    va_end(pairs);
    PQconninfoFree(all);
    text = mem_strdup(buf_text(&out));
    mem_wipe(out.data, out.len);
    buf_free(&out);
    return text;
}

static int run(struct db *db, const char *name, bool queued, PGresult **ret, struct errmsg *err);

/* A pooler makes up the process id that it gives at the start of a connection. */
static int look_for_pooler(struct db *db, struct errmsg *err)
{
    PGresult *pg = NULL;
    int64_t pid = 0;
    int st = run(db, "connect", PQsendQuery(db->conn, "values (pg_backend_pid())") == 1, &pg, err);

    if (st != ST_OK) {
        db_disconnect(db);
        return ST_UNAVAILABLE; /* whatever it was: nothing was asked for yet */
    }
    db->pooled =
        PQntuples(pg) != 1 || !text_to_i64(PQgetvalue(pg, 0, 0), 0, INT32_MAX, &pid) || pid != PQbackendPID(db->conn);
    db->unprepared = db->pooled;
    PQclear(pg);
    return ST_OK;
}

/* Behind a pooler they would stay in a session that others get; there each statement is planned by itself, and does without. */
static int set_session(struct db *db, struct errmsg *err)
{
    PGresult *pg = NULL;
    int st = ST_OK;

    if (db->session && !db->pooled) {
        st = run(db, "connect", PQsendQuery(db->conn, db->session) == 1, &pg, err);
        PQclear(pg);
        if (st != ST_OK) {
            db_disconnect(db);
            st = ST_UNAVAILABLE;
        }
    }
    return st;
}

/* A password in a URL that is not encoded is split at its @ and :, and libpq would quote a part of it as a host or a port. */
static bool holds_stray_password(const struct db *db)
{
    char *host = db_conninfo_value(db->conninfo, "host");
    char *port = db_conninfo_value(db->conninfo, "port");
    bool stray = (host && strchr(host, '@')) || (port && port[strspn(port, "0123456789, ")] != '\0');

    mem_free_secret(host);
    mem_free_secret(port);
    return stray;
}

int db_connect(struct db *db, struct errmsg *err)
{
    char *parse_error = NULL;
    int st;

    if (db->conn) {
        return ST_OK;
    }
    db->sqlstate[0] = '\0';
    PGconn *conn = connect_with_defaults(db, &parse_error);

    if (!conn) {
        /* libpq quotes what it does not understand, which may be a part of the password */
        bool secret = strstr(db->conninfo, "password") || strchr(db->conninfo, '@');

        st = fail_text(err, ST_INVALID, "database.conninfo is not valid",
                       secret ? "see how a connection string is written in PostgreSQL's documentation, and mind blanks "
                                "and quotes in the password"
                       : parse_error ? parse_error
                                     : "");
        PQfreemem(parse_error);
        return st;
    }
    if (PQstatus(conn) != CONNECTION_OK) {
        bool refused = strstr(PQerrorMessage(conn), "unsupported startup parameter") != NULL; /* PgBouncer's words */

        if (holds_stray_password(db))
            st = fail_text(
                err, ST_INVALID, "database.conninfo is not valid",
                "its host or its port cannot be one; in a URL write @ : / and % of a password as %40 %3A %2F and %25");
        else
            st = fail_text(
                err, ST_UNAVAILABLE,
                refused ? "cannot connect to the database (take this parameter out of database.conninfo, or name it in "
                          "PgBouncer's ignore_startup_parameters)"
                        : "cannot connect to the database",
                PQerrorMessage(conn));
        PQfinish(conn);
        return st;
    }
    (void)PQsetErrorVerbosity(conn, PQERRORS_SQLSTATE); /* what PQerrorMessage() says must not quote values */
    db->conn = conn;
    db->plans_ms = PLANS_FIRST_MS;
    db->plans_until_ms = clock_mono_ms() + db->plans_ms;
    st = look_for_pooler(db, err);
    return st == ST_OK ? set_session(db, err) : st;
}

/* ---- statements --------------------------------------------------------------------------------------------------- */

struct class_row {
    const char *prefix; /* of the SQLSTATE */
    enum status status;
};

/* https://www.postgresql.org/docs/current/errcodes-appendix.html; the first row that fits decides. */
static const struct class_row classes[] = {
    {"08", ST_UNAVAILABLE},    /* connection exceptions */
    {"57P", ST_UNAVAILABLE},   /* server shutting down, starting, database dropped, idle time-outs */
    {"25006", ST_UNAVAILABLE}, /* read-only transaction: we are on a standby now */
    {"40003", ST_UNCERTAIN},   /* statement completion unknown */
    {"25P03", ST_UNAVAILABLE}, /* paused within a transaction for too long: it was undone */
    {"40", ST_CONFLICT},       /* serialization failure, deadlock */
    {"55P03", ST_CONFLICT},    /* lock not available */
    {"23", ST_CONFLICT},       /* integrity constraint */
    {"53", ST_LIMIT},          /* disk full, out of memory, too many connections */
    {"57014", ST_UNAVAILABLE}, /* cancelled: statement_timeout or an administrator */
    {"58", ST_UNAVAILABLE},    /* system errors of the server, I/O */
    {"28", ST_DENIED},         {"42501", ST_DENIED}, {"22", ST_INVALID}, /* data exceptions */
};

static int classify(const char *sqlstate)
{
    for (size_t i = 0; i < ATS_COUNT(classes); i++) {
        if (strncmp(sqlstate, classes[i].prefix, strlen(classes[i].prefix)) == 0) {
            return classes[i].status;
        }
    }
    return ST_INTERNAL;
}

/* The connection is of no use any more: closes it. What was under way may have happened (sent) or cannot have (not sent). */
static int lost(struct db *db, struct errmsg *err, const char *what, bool sent)
{
    int st = fail_text(err, sent ? ST_UNCERTAIN : ST_UNAVAILABLE, what, PQerrorMessage(db->conn));

    db_disconnect(db);
    return st;
}

/*
 * The server's words, without the values that they may quote: DETAIL and CONTEXT are left away altogether, of a data
 * exception only what stands before the first quotation, and of what a function in the database raises nothing.
 */
static void add_words(struct buf *out, const PGresult *result, const char *state)
{
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);
    size_t len = 0;

    if (!primary) {
        buf_puts(out, "no message");
        return;
    }
    if (strncmp(state, "P0", 2) == 0 || (context && strstr(context, "RAISE"))) {
        buf_puts(out, "raised by a function in the database, with words that are in the server's log");
        return;
    }
    if (strncmp(state, "22", 2) != 0) {
        buf_puts(out, primary);
        return;
    }
    while (primary[len] != '\0' && primary[len] != '"' && primary[len] != ':' && (unsigned char)primary[len] < 0x80) {
        len++; /* quotation marks depend on the server's language */
    }
    buf_add(out, primary, len);
    buf_puts(out, primary[len] != '\0' ? "\xe2\x80\xa6" : "");
}

static int failed_result(struct db *db, const char *name, const PGresult *result, struct errmsg *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    struct buf words;
    int st;

    if (!state) {
        return lost(db, err, name, true);
    }
    snprintf(db->sqlstate, sizeof db->sqlstate, "%s", state);
    buf_init(&words, SIZE_MAX / 4);
    add_words(&words, result, state);
    st = err_set(err, classify(state), "%s: %s (SQLSTATE %s)", name, buf_text(&words), state);
    buf_free(&words);
    if (st == ST_UNAVAILABLE && strcmp(state, "57014") != 0) {
        db_disconnect(db);
    }
    return st;
}

/* Waits until the answer is complete. false: broken or too late. */
static bool wait_answer(struct db *db, int64_t deadline_ms)
{
    while (PQisBusy(db->conn)) {
        struct pollfd p = {.fd = PQsocket(db->conn), .events = POLLIN};
        int64_t left = deadline_ms - clock_mono_ms();
        int n = left > 0 ? poll(&p, 1, (int)left) : 0;

        if (n == 0 || (n < 0 && errno != EINTR)) {
            return false;
        }
        if (n > 0 && !PQconsumeInput(db->conn)) {
            return false;
        }
    }
    return true;
}

static bool flush_request(struct db *db, int64_t deadline_ms)
{
    int left;

    while ((left = PQflush(db->conn)) > 0) {
        struct pollfd p = {.fd = PQsocket(db->conn), .events = POLLIN | POLLOUT};
        int64_t wait_ms = deadline_ms - clock_mono_ms();

        if (wait_ms <= 0 || (poll(&p, 1, (int)wait_ms) < 0 && errno != EINTR)) {
            return false;
        }
        if ((p.revents & POLLIN) && !PQconsumeInput(db->conn)) {
            return false;
        }
    }
    return left == 0;
}

/* What nobody waits for any more should not go on there and keep its locks. Best effort: the connection is given up in any case. */
static void cancel_statement(struct db *db)
{
    PGcancel *cancel = PQgetCancel(db->conn);
    char ignored[256];

    if (cancel) {
        (void)PQcancel(cancel, ignored, sizeof ignored);
        PQfreeCancel(cancel);
    }
}

/* Sends what was queued and takes the last result; earlier ones of a script are checked for failure. */
static int run(struct db *db, const char *name, bool queued, PGresult **ret, struct errmsg *err)
{
    int64_t deadline_ms = clock_mono_ms() + db->timeout_ms;
    PGresult *last = NULL;
    PGresult *next;

    if (!queued) {
        return lost(db, err, name, false);
    }
    if (!flush_request(db, deadline_ms)) {
        return lost(db, err, name, true);
    }
    for (;;) {
        if (!wait_answer(db, deadline_ms)) {
            PQclear(last);
            if (clock_mono_ms() >= deadline_ms) {
                cancel_statement(db);
                db_disconnect(db);
                return err_set(err, ST_UNCERTAIN, "%s: the database did not answer within %d ms", name, db->timeout_ms);
            }
            return lost(db, err, name, true);
        }
        next = PQgetResult(db->conn);
        if (!next) {
            break;
        }
        if (last && PQresultStatus(last) == PGRES_FATAL_ERROR) {
            PQclear(next); /* keep the first failure */
        } else {
            PQclear(last);
            last = next;
        }
    }
    if (!last) {
        return lost(db, err, name, true);
    }
    ExecStatusType status = PQresultStatus(last);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        int st = failed_result(db, name, last, err);

        PQclear(last);
        return st;
    }
    *ret = last;
    return ST_OK;
}

static int check_shape(const char *name, const PGresult *r, enum db_shape shape, struct errmsg *err)
{
    int rows = PQntuples(r);
    bool tuples = PQresultStatus(r) == PGRES_TUPLES_OK;

    switch (shape) {
    case DB_COMMAND:
        return rows == 0 ? ST_OK : err_set(err, ST_INTERNAL, "%s: %d rows came, none were expected", name, rows);
    case DB_ROW:
        return rows == 1 ? ST_OK : err_set(err, ST_INTERNAL, "%s: %d rows came, one was expected", name, rows);
    case DB_MAYBE:
        return tuples && rows <= 1
                   ? ST_OK
                   : err_set(err, ST_INTERNAL, "%s: %d rows came, at most one was expected", name, rows);
    case DB_ROWS:
        return tuples ? ST_OK : err_set(err, ST_INTERNAL, "%s: no rows came, a set was expected", name);
    }
    return ST_INTERNAL;
}

static bool is_prepared(const struct db *db, const struct sql_stmt *stmt)
{
    for (unsigned i = 0; i < db->prepared_count; i++) {
        if (db->prepared[i] == stmt) {
            return true;
        }
    }
    return false;
}

static int prepare(struct db *db, const struct sql_stmt *stmt, const struct db_params *params, struct errmsg *err)
{
    PGresult *pg = NULL;
    int st = run(db, stmt->name,
                 PQsendPrepare(db->conn, stmt->name, stmt->text, params ? (int)params->count : 0,
                               params ? params->types : NULL) == 1,
                 &pg, err);

    PQclear(pg);
    if (st == ST_OK) {
        db->prepared[db->prepared_count++] = stmt;
    }
    return st;
}

/* Invalid or duplicate statement name: what we prepared is on another server connection. */
static bool pooler_in_between(const struct db *db)
{
    return strcmp(db->sqlstate, "26000") == 0 || strcmp(db->sqlstate, "42P05") == 0;
}

static int send_statement(struct db *db, const struct sql_stmt *stmt, const struct db_params *params, PGresult **ret,
                          struct errmsg *err)
{
    static const int formats[DB_PARAMS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                               1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    int count = params ? (int)params->count : 0;
    const char *const *values = params ? params->values : NULL;
    const int *lengths = params ? params->lengths : NULL;
    int st = ST_OK;

    db->sqlstate[0] = '\0';
    if (db->unprepared || stmt->planned_anew || (!is_prepared(db, stmt) && db->prepared_count == PREPARED_MAX)) {
        return run(db, stmt->name,
                   PQsendQueryParams(db->conn, stmt->text, count, params ? params->types : NULL, values, lengths,
                                     formats, 1) == 1,
                   ret, err);
    }
    if (!is_prepared(db, stmt)) {
        st = prepare(db, stmt, params, err);
    }
    return st == ST_OK
               ? run(db, stmt->name, PQsendQueryPrepared(db->conn, stmt->name, count, values, lengths, formats, 1) == 1,
                     ret, err)
               : st;
}

/*
 * The plan of a prepared statement is kept until the server hears that a table has changed, which a table that grows does not tell. One that was made while
 * tables were empty takes any index for as good as the right one, and goes through thousands of rows for each a minute later.
 */
static int connect_with_recent_plans(struct db *db, struct errmsg *err)
{
    int64_t now_ms = clock_mono_ms();
    PGresult *pg = NULL;
    int st;

    if (!db->conn) {
        return db_connect(db, err);
    }
    if (db->prepared_count == 0 || now_ms < db->plans_until_ms || PQtransactionStatus(db->conn) != PQTRANS_IDLE) {
        return ST_OK;
    }
    st = run(db, "discard plans", PQsendQuery(db->conn, "discard plans") == 1, &pg, err);
    PQclear(pg);
    if (st != ST_OK) {
        db_disconnect(db);
        return ST_UNAVAILABLE; /* whatever it was: nothing was asked for yet */
    }
    db->plans_ms = 2 * db->plans_ms < PLANS_MAX_MS ? 2 * db->plans_ms : PLANS_MAX_MS;
    db->plans_until_ms = now_ms + db->plans_ms;
    return ST_OK;
}

int db_exec(struct db *db, const struct sql_stmt *stmt, const struct db_params *params, enum db_shape shape,
            struct db_result **ret, struct errmsg *err)
{
    PGresult *pg = NULL;
    int st = connect_with_recent_plans(db, err);

    if (st != ST_OK) {
        return st;
    }
    st = send_statement(db, stmt, params, &pg, err);
    if (st != ST_OK && pooler_in_between(db)) {
        db->unprepared = true;
        if (!db->conn || PQtransactionStatus(db->conn) != PQTRANS_IDLE) {
            return err_set(err, ST_CONFLICT, "%s: a pooler does not keep prepared statements; to be repeated without",
                           stmt->name);
        }
        st = send_statement(db, stmt, params, &pg, err);
    }
    if (st == ST_OK) {
        st = check_shape(stmt->name, pg, shape, err);
    }
    if (st == ST_OK && ret) {
        *ret = mem_zalloc(sizeof **ret);
        (*ret)->pg = pg;
        pg = NULL;
    }
    PQclear(pg);
    return st;
}

/* ---- several statements in one round trip ------------------------------------------------------------------------------- */

static const struct sql_stmt begin_stmt = {.name = "begin", .text = "begin", .planned_anew = true};
static const struct sql_stmt commit_stmt = {.name = "commit", .text = "commit", .planned_anew = true};
static const struct sql_stmt pause_stmt = {
    .name = "begin", .text = "set local idle_in_transaction_session_timeout = 5000", .planned_anew = true};
static const struct sql_stmt lazy_stmt = {
    .name = "begin", .text = "set local synchronous_commit = off", .planned_anew = true};
static const struct sql_stmt durable_stmt = {
    .name = "begin", .text = "set local synchronous_commit to default", .planned_anew = true};

static int not_queued(struct db *db, int st)
{
    if (db->queue_status == ST_OK) {
        db->queue_status = st;
    }
    return st;
}

#ifdef LIBPQ_HAS_PIPELINING

static void remember_queued(struct db *db, const struct sql_stmt *stmt, bool prepares, enum db_shape shape,
                            struct db_result **ret)
{
    db->queued[db->queued_count++] = (struct queued){.stmt = stmt, .prepares = prepares, .shape = shape, .ret = ret};
}

static bool is_prepared_or_will_be(const struct db *db, const struct sql_stmt *stmt)
{
    for (unsigned i = 0; i < db->queued_count; i++) {
        if (db->queued[i].prepares && db->queued[i].stmt == stmt) {
            return true;
        }
    }
    return is_prepared(db, stmt);
}

/* Into libpq's buffer, which db_flush sends. */
static bool send_queued(struct db *db, const struct sql_stmt *stmt, const struct db_params *params)
{
    static const int formats[DB_PARAMS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                               1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    int count = params ? (int)params->count : 0;
    const uint32_t *types = params ? params->types : NULL;
    const char *const *values = params ? params->values : NULL;
    const int *lengths = params ? params->lengths : NULL;

    if (db->unprepared || stmt->planned_anew ||
        (!is_prepared_or_will_be(db, stmt) && db->prepared_count + db->queued_count >= PREPARED_MAX)) {
        return PQsendQueryParams(db->conn, stmt->text, count, types, values, lengths, formats, 1) == 1;
    }
    if (!is_prepared_or_will_be(db, stmt)) {
        if (PQsendPrepare(db->conn, stmt->name, stmt->text, count, types) != 1) {
            return false;
        }
        remember_queued(db, stmt, true, DB_COMMAND, NULL);
    }
    return PQsendQueryPrepared(db->conn, stmt->name, count, values, lengths, formats, 1) == 1;
}

void db_queue_telling(struct db *db, const struct sql_stmt *stmt, const struct db_params *params, enum db_shape shape,
                      struct db_result **ret, void (*answered)(void *ctx), void *ctx)
{
    if (ret) {
        *ret = NULL;
    }
    if (db->queue_status != ST_OK) {
        return;
    }
    if (db->queued_count == 0) {
        int st = connect_with_recent_plans(db, &db->queue_error);

        if (st != ST_OK) {
            (void)not_queued(db, st);
            return;
        }
        db->sqlstate[0] = '\0';
    }
    if (!db->conn || db->queued_count + 2 > QUEUED_MAX ||
        (PQpipelineStatus(db->conn) == PQ_PIPELINE_OFF &&
         (PQsetnonblocking(db->conn, 1) != 0 || PQenterPipelineMode(db->conn) != 1)) ||
        !send_queued(db, stmt, params) || (answered && PQsendFlushRequest(db->conn) != 1)) {
        (void)not_queued(db, db->conn ? lost(db, &db->queue_error, stmt->name, false)
                                      : err_set(&db->queue_error, ST_UNAVAILABLE, "%s: not connected", stmt->name));
        return;
    }
    remember_queued(db, stmt, false, shape, ret);
    db->queued[db->queued_count - 1].answered = answered;
    db->queued[db->queued_count - 1].ctx = ctx;
}

/* The answer to the next of the queued statements. NULL: the connection is of no use any more, and *st says why. */
static PGresult *next_answer(struct db *db, const char *name, int64_t deadline_ms, int *st, struct errmsg *err)
{
    PGresult *r = NULL;

    do { /* each answer is followed by an end of its own */
        if (!wait_answer(db, deadline_ms)) {
            if (clock_mono_ms() >= deadline_ms) {
                cancel_statement(db);
                db_disconnect(db);
                *st = err_set(err, ST_UNCERTAIN, "%s: the database did not answer within %d ms", name, db->timeout_ms);
            } else {
                *st = lost(db, err, name, true);
            }
            return NULL;
        }
        r = PQgetResult(db->conn);
    } while (!r && PQstatus(db->conn) == CONNECTION_OK);
    if (!r) {
        *st = lost(db, err, name, true);
    }
    return r;
}

static int take_answer(struct db *db, const struct queued *q, PGresult *pg, struct errmsg *err)
{
    ExecStatusType status = PQresultStatus(pg);
    int st = ST_OK;

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        if (q->prepares) {
            db->prepared[db->prepared_count++] = q->stmt;
        } else if ((st = check_shape(q->stmt->name, pg, q->shape, err)) == ST_OK && q->ret) {
            *q->ret = mem_zalloc(sizeof **q->ret);
            (*q->ret)->pg = pg;
            return ST_OK;
        }
    } else if (status != PGRES_PIPELINE_ABORTED) { /* those behind one that failed are not told of one by one */
        st = failed_result(db, q->stmt->name, pg, err);
    }
    PQclear(pg);
    return st;
}

/* The answer to the end of the whole. What was queued without db_queue_begin is committed there, which may fail. */
static int end_of_pipeline(struct db *db, int64_t deadline_ms, struct errmsg *err)
{
    struct errmsg later;
    bool ended = false;
    int st = ST_OK;

    while (db->conn && !ended) {
        int one = ST_OK;
        PGresult *pg = next_answer(db, "pipeline", deadline_ms, &one, st == ST_OK ? err : &later);

        ended = pg && PQresultStatus(pg) == PGRES_PIPELINE_SYNC;
        if (pg && !ended) {
            one = failed_result(db, "pipeline", pg, st == ST_OK ? err : &later);
        }
        PQclear(pg);
        st = st == ST_OK ? one : st;
    }
    if (db->conn && PQexitPipelineMode(db->conn) != 1) {
        int one = lost(db, st == ST_OK ? err : &later, "pipeline", true);

        st = st == ST_OK ? one : st;
    }
    return st;
}

static int read_answers(struct db *db, struct errmsg *err)
{
    int64_t deadline_ms = clock_mono_ms() + db->timeout_ms;
    struct errmsg later;
    int st = ST_OK;

    if (PQpipelineSync(db->conn) != 1) {
        return lost(db, err, "pipeline", true);
    }
    if (!flush_request(db, deadline_ms)) {
        return lost(db, err, "pipeline", true);
    }
    for (unsigned i = 0; i < db->queued_count && db->conn; i++) {
        const struct queued *q = &db->queued[i];
        int one = ST_OK;
        PGresult *pg = next_answer(db, q->stmt->name, deadline_ms, &one, st == ST_OK ? err : &later);

        if (pg) {
            one = take_answer(db, q, pg, st == ST_OK ? err : &later);
        }
        st = st == ST_OK ? one : st;
        if (st == ST_OK && q->answered) {
            q->answered(q->ctx);
        }
    }
    if (db->conn) {
        int one = end_of_pipeline(db, deadline_ms, st == ST_OK ? err : &later);

        st = st == ST_OK ? one : st;
    }
    return st;
}

static void forget_queued(struct db *db, int st)
{
    for (unsigned i = 0; i < db->queued_count && st != ST_OK; i++) {
        if (db->queued[i].ret) {
            db_result_free(*db->queued[i].ret);
            *db->queued[i].ret = NULL;
        }
    }
    db->queued_count = 0;
    db->queue_status = ST_OK;
}

int db_flush(struct db *db, struct errmsg *err)
{
    int st = db->queue_status;

    if (st != ST_OK) {
        if (err) {
            *err = db->queue_error;
        }
        if (db->queued_count > 0) { /* half of what was meant must not be done */
            db_disconnect(db);
        }
    } else if (db->queued_count > 0) {
        st = read_answers(db, err);
        if (st != ST_OK && pooler_in_between(db)) {
            db->unprepared = true;
            st = err_set(err, ST_CONFLICT, "a pooler does not keep prepared statements; to be repeated without");
        }
    }
    forget_queued(db, st);
    return st;
}

#else /* libpq before 14: one after the other */

void db_queue_telling(struct db *db, const struct sql_stmt *stmt, const struct db_params *params, enum db_shape shape,
                      struct db_result **ret, void (*answered)(void *ctx), void *ctx)
{
    (void)answered; /* the answer is the end of it: nobody could begin with anything earlier */
    (void)ctx;
    if (ret) {
        *ret = NULL;
    }
    if (db->queue_status == ST_OK) {
        (void)not_queued(db, db_exec(db, stmt, params, shape, ret, &db->queue_error));
        if (ret && *ret) {
            db->queued[db->queued_count++].ret = ret;
        }
    }
}

int db_flush(struct db *db, struct errmsg *err)
{
    int st = db->queue_status;

    for (unsigned i = 0; i < db->queued_count && st != ST_OK; i++) {
        db_result_free(*db->queued[i].ret);
        *db->queued[i].ret = NULL;
    }
    if (st != ST_OK && err) {
        *err = db->queue_error;
    }
    db->queued_count = 0;
    db->queue_status = ST_OK;
    return st;
}

#endif

void db_queue(struct db *db, const struct sql_stmt *stmt, const struct db_params *params, enum db_shape shape,
              struct db_result **ret)
{
    db_queue_telling(db, stmt, params, shape, ret, NULL, NULL);
}

void db_queue_begin(struct db *db, enum db_durability durability)
{
    db_queue(db, &begin_stmt, NULL, DB_COMMAND, NULL);
    db_queue(db, &pause_stmt, NULL, DB_COMMAND, NULL);
    db_queue(db, durability == DB_MAY_BE_LOST ? &lazy_stmt : &durable_stmt, NULL, DB_COMMAND, NULL);
}

void db_queue_commit(struct db *db)
{
    db_queue(db, &commit_stmt, NULL, DB_COMMAND, NULL);
}

int db_script(struct db *db, const char *name, const char *text, struct errmsg *err)
{
    PGresult *pg = NULL;
    int st = db_connect(db, err);

    if (st != ST_OK) {
        return st;
    }
    db->sqlstate[0] = '\0';
    st = run(db, name, PQsendQuery(db->conn, text) == 1, &pg, err);
    PQclear(pg);
    return st;
}

/*
 * A process that is stopped within a transaction (a debugger, a frozen virtual machine), or whose machine lost its power,
 * holds its locks on candidates: the events of these, and every batch that one of them is in, would wait with it. The
 * server ends such a transaction; we never pause within one.
 */
int db_begin(struct db *db, struct errmsg *err)
{
    return db_script(db, "begin", "begin; set local idle_in_transaction_session_timeout = 5000", err);
}

int db_commit(struct db *db, struct errmsg *err)
{
    if (!db->conn) {
        return err_set(err, ST_UNAVAILABLE, "commit: the connection was lost before");
    }
    return db_script(db, "commit", "commit", err);
}

void db_rollback(struct db *db)
{
    char failure[sizeof db->sqlstate];
    struct errmsg ignored;

    memcpy(failure, db->sqlstate, sizeof failure);
    if (db->conn && PQtransactionStatus(db->conn) != PQTRANS_IDLE &&
        db_script(db, "rollback", "rollback", &ignored) != ST_OK) {
        db_disconnect(db);
    }
    memcpy(db->sqlstate, failure, sizeof failure);
}

int db_encrypt_password(struct db *db, const char *role, const char *password, char **ret, struct errmsg *err)
{
    int st = db_connect(db, err);
    char *verifier;

    if (st != ST_OK) {
        return st;
    }
    verifier = PQencryptPasswordConn(db->conn, password, role, NULL);
    if (!verifier) {
        return fail_text(err, ST_INTERNAL, "encrypting the password", PQerrorMessage(db->conn));
    }
    *ret = mem_strdup(verifier);
    mem_wipe(verifier, strlen(verifier));
    PQfreemem(verifier);
    return ST_OK;
}

/* ---- results ------------------------------------------------------------------------------------------------------ */

size_t db_rows(const struct db_result *r)
{
    return (size_t)PQntuples(r->pg);
}

bool db_is_null(const struct db_result *r, size_t row, int col)
{
    return PQgetisnull(r->pg, (int)row, col) == 1;
}

const char *db_text(const struct db_result *r, size_t row, int col)
{
    return db_is_null(r, row, col) ? NULL : PQgetvalue(r->pg, (int)row, col);
}

int64_t db_i64(const struct db_result *r, size_t row, int col)
{
    const char *bytes = PQgetvalue(r->pg, (int)row, col);
    uint64_t wire8;
    uint32_t wire4;
    uint16_t wire2;

    if (db_is_null(r, row, col)) {
        return 0;
    }
    switch (PQgetlength(r->pg, (int)row, col)) {
    case 8:
        memcpy(&wire8, bytes, sizeof wire8);
        return (int64_t)be64toh(wire8);
    case 4:
        memcpy(&wire4, bytes, sizeof wire4);
        return (int32_t)be32toh(wire4);
    case 2:
        memcpy(&wire2, bytes, sizeof wire2);
        return (int16_t)be16toh(wire2);
    default:
        return 0;
    }
}

bool db_bool(const struct db_result *r, size_t row, int col)
{
    return !db_is_null(r, row, col) && PQgetvalue(r->pg, (int)row, col)[0] != 0;
}

double db_double(const struct db_result *r, size_t row, int col)
{
    uint64_t bits = (uint64_t)db_i64(r, row, col);
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

int64_t db_time(const struct db_result *r, size_t row, int col)
{
    return db_is_null(r, row, col) ? INT64_MIN : db_i64(r, row, col) + DB_EPOCH_US;
}

const void *db_bytes(const struct db_result *r, size_t row, int col, size_t *ret_len)
{
    *ret_len = (size_t)PQgetlength(r->pg, (int)row, col);
    return db_is_null(r, row, col) ? NULL : PQgetvalue(r->pg, (int)row, col);
}

int db_columns(const struct db_result *r)
{
    return PQnfields(r->pg);
}

const char *db_column_name(const struct db_result *r, int col)
{
    return PQfname(r->pg, col);
}

void db_result_free(struct db_result *r)
{
    if (r) {
        PQclear(r->pg);
        mem_free(r);
    }
}

/* ---- LISTEN ------------------------------------------------------------------------------------------------------- */

int db_listen(struct db *db, const char *channel, struct errmsg *err)
{
    char *statement;
    int st = db_connect(db, err);

    if (st != ST_OK) {
        return st;
    }
    if (db->pooled) {
        db_disconnect(db);
        return err_set(err, ST_INVALID, "listen: a connection pooler stands between, which LISTEN does not go through");
    }
    statement = mem_printf("listen %s", channel);
    st = db_script(db, "listen", statement, err);
    mem_free(statement);
    return st;
}

int db_fd(const struct db *db)
{
    return db->conn ? PQsocket(db->conn) : -1;
}

int db_notifications(struct db *db, struct errmsg *err)
{
    PGnotify *note;
    int count = 0;

    if (!db->conn) {
        return err_set(err, ST_UNAVAILABLE, "listen: not connected");
    }
    if (!PQconsumeInput(db->conn)) {
        return lost(db, err, "listen", false);
    }
    while ((note = PQnotifies(db->conn)) != NULL) {
        PQfreemem(note);
        count++;
    }
    return count;
}
