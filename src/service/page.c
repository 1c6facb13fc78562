#include "service/page.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "domain/glance.h"

enum { ANSWER_MAX_BYTES = 4000, ISSUES_SHOWN = 50 };

/* ---- text: everything is escaped unless it comes from here */

static void add_text(struct buf *out, const char *s)
{
    for (; s && *s != '\0'; s++) {
        switch (*s) {
        case '&':
            buf_puts(out, "&amp;");
            break;
        case '<':
            buf_puts(out, "&lt;");
            break;
        case '>':
            buf_puts(out, "&gt;");
            break;
        case '"':
            buf_puts(out, "&quot;");
            break;
        case '\'':
            buf_puts(out, "&#39;");
            break;
        default:
            buf_putc(out, *s);
        }
    }
}

static void fill(struct buf *out, const char *pattern, const char *const *values)
{
    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '@') {
            add_text(out, *values++);
        } else {
            buf_putc(out, *pattern);
        }
    }
}
/* A pattern with "@" for each of the texts that follow; they are escaped, NULL is nothing. */
#define html(out, pattern, ...) fill(out, pattern, (const char *const[]){__VA_ARGS__})

/* A file of the page, with NAME between two "@" replaced: text is escaped, markup was made here. */
struct part {
    const char *name, *text, *markup;
};

static void fill_file(struct buf *out, const char *file, const struct part *parts, size_t count)
{
    for (const char *at = page_file(file); at && *at != '\0';) {
        size_t len = strcspn(at, "@");

        buf_add(out, at, len);
        at += len;
        if (*at == '\0') {
            break;
        }
        len = strcspn(at + 1, "@");
        for (size_t i = 0; i < count; i++) {
            if (strlen(parts[i].name) == len && strncmp(parts[i].name, at + 1, len) == 0) {
                add_text(out, parts[i].text);
                buf_puts(out, parts[i].markup);
            }
        }
        at += len + 2;
    }
}

const char *page_file(const char *name)
{
    for (const struct page_file *f = page_files; f->name; f++) {
        if (strcmp(f->name, name) == 0) {
            return f->text;
        }
    }
    return NULL;
}

static void page(struct buf *out, const char *kind, const char *title, const char *instance, const char *words,
                 const struct page_about *about, const struct buf *main)
{
    static const char logout[] =
        "<form class=\"logout\" action=\"logout\" method=\"post\"><button>Sign out</button></form>\n";
    const struct part parts[] = {
        {.name = "title", .text = title},           {.name = "page", .text = kind},
        {.name = "instance", .text = instance},     {.name = "words", .text = words},
        {.name = "main", .markup = buf_text(main)}, {.name = "logout", .markup = about->may_log_out ? logout : NULL},
    };

    fill_file(out, "frame.html", parts, ATS_COUNT(parts));
    out->failed = out->failed || main->failed;
}

/* ---- values */

struct small {
    char s[48];
};

/* 1234567 -> "1 234 567", with blanks that do not break */
static struct small amount_text(int64_t n)
{
    struct small t = {{0}};
    struct num_text digits = num_text(n);
    size_t len = strlen(digits.s), at = 0;

    for (size_t i = 0; i < len; i++) {
        t.s[at++] = digits.s[i];
        if (digits.s[i] != '-' && i + 1 < len && (len - i - 1) % 3 == 0) {
            memcpy(t.s + at, "\xe2\x80\xaf", 3);
            at += 3;
        }
    }
    return t;
}

static int64_t whole(const struct json *row, const char *name)
{
    double n = 0;

    (void)json_num(json_get(row, name), &n);
    return (int64_t)n;
}

static struct small amount(const struct json *row, const char *name)
{
    return amount_text(whole(row, name));
}

static struct small duration(int64_t seconds)
{
    struct arena *arena = arena_new();
    struct small t;

    (void)snprintf(t.s, sizeof t.s, "%s", glance_duration(seconds, arena));
    arena_free(arena);
    return t;
}

/* As somebody would say it: "0.25 s", "3.1 s", "4 min"; "-" for none. */
static struct small seconds_text(const struct json *seconds)
{
    struct small t = {"-"};
    double s;

    if (json_num(seconds, &s)) {
        if (s >= 10) {
            return duration((int64_t)s);
        }
        (void)snprintf(t.s, sizeof t.s, s < 1 ? "%.2f s" : "%.1f s", s);
    }
    return t;
}

static bool has(const struct json *row, const char *name)
{
    return json_get_str(row, name) != NULL;
}

/* A time that the script turns into local time; without one, "none". */
static void add_time(struct buf *out, const char *iso, const char *none)
{
    if (iso && strlen(iso) >= 16) {
        char *day = mem_strndup(iso, 10);
        char *clock = mem_strndup(iso + 11, 5);

        html(out, "<time datetime=\"@\">@ @ UTC</time>", iso, day, clock);
        mem_free(clock);
        mem_free(day);
    } else {
        add_text(out, none);
    }
}

/* "waiting_for_identity" -> "waiting for identity" */
static void add_words(struct buf *out, const char *name)
{
    for (; name && *name != '\0'; name++) {
        add_text(out, (const char[]){*name == '_' ? ' ' : *name, '\0'});
    }
}

/* How a state looks: a sign and a colour beside the word, so that neither alone has to tell. */
static const struct look {
    const char *state, *class, *sign;
} looks[] = {
    {"ok", "good", "\xe2\x9c\x93"},
    {"attention", "fair", "!"},
    {"trouble", "bad", "\xe2\x9c\x95"},
    {"not_ready", "bad", "\xe2\x9c\x95"},
    {"synced", "good", "\xe2\x9c\x93"},
    {"applied", "good", "\xe2\x9c\x93"},
    {"dead", "bad", "\xe2\x9c\x95"},
    {"paused", "bad", "\xe2\x9c\x95"},
    {"open", "bad", "\xe2\x9c\x95"},
    {"error", "bad", "\xe2\x9c\x95"},
    {"warning", "fair", "!"},
    {"throttled", "fair", "!"},
    {"retrying", "fair", "!"},
    {"unmapped", "fair", "!"},
    {"waiting_for_identity", "fair", "!"},
    {"pending", "calm", "\xe2\x80\xa6"},
    {"sending", "calm", "\xe2\x80\xa6"},
    {"in_progress", "calm", "\xe2\x80\xa6"},
};

static const struct look *look_of(const char *state)
{
    static const struct look plain = {NULL, "calm", "\xe2\x80\x93"};

    for (size_t i = 0; i < ATS_COUNT(looks); i++) {
        if (text_eq(looks[i].state, state)) {
            return &looks[i];
        }
    }
    return &plain;
}

static void add_badge(struct buf *out, const char *state)
{
    const struct look *look = look_of(state);

    html(out, "<span class=\"badge @\"><span class=\"sign\" aria-hidden=\"true\">@</span> ", look->class, look->sign);
    add_words(out, state);
    buf_puts(out, "</span>");
}

/* For a path or query: everything but letters, digits and -._~ (RFC 3986) */
static void add_uri(struct buf *out, const char *s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (const unsigned char *c = (const unsigned char *)s; *c != '\0'; c++) {
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-._~", *c)) {
            buf_putc(out, (char)*c);
        } else {
            buf_putc(out, '%');
            buf_putc(out, hex[*c >> 4]);
            buf_putc(out, hex[*c & 15]);
        }
    }
}

/* A candidate is known by the external id, and by a reference until there is one. */
static const char *id_of(const struct json *row)
{
    const char *id = json_get_str(row, "candidate_external_id");

    return id ? id : json_get_str(row, "ref");
}

static void add_candidate_link(struct buf *out, const char *id)
{
    buf_puts(out, "<a href=\"candidate?id=");
    add_uri(out, id ? id : "");
    html(out, "\">@</a>", id);
}

/* ---- tables. On a narrow screen each row becomes a card, which needs the column's name in every cell. A name that
 * begins with "#" is a column of figures. */

static const char *plain_name(const char *column)
{
    return column + (*column == '#' ? 1 : 0);
}

static void begin_table(struct buf *out, const char *caption, const char *const *columns, size_t count)
{
    html(out, "<div class=\"scroll\"><table><caption class=\"unseen\">@</caption><thead><tr>", caption);
    for (size_t i = 0; i < count; i++) {
        html(out, "<th scope=\"col\" class=\"@\">@</th>", *columns[i] == '#' ? "number" : "", plain_name(columns[i]));
    }
    buf_puts(out, "</tr></thead><tbody>\n");
}

static void begin_cell(struct buf *out, const char *column, const char *class)
{
    html(out, "<td data-label=\"@\" class=\"@\">", plain_name(column), *column == '#' ? "number" : class);
}

static void add_cell(struct buf *out, const char *column, const char *text, const char *class)
{
    begin_cell(out, column, class);
    add_text(out, text ? text : "-");
    buf_puts(out, "</td>");
}

static void add_time_cell(struct buf *out, const char *column, const char *iso)
{
    begin_cell(out, column, NULL);
    add_time(out, iso, "-");
    buf_puts(out, "</td>");
}

static void add_badge_cell(struct buf *out, const char *column, const char *state)
{
    begin_cell(out, column, NULL);
    add_badge(out, state);
    buf_puts(out, "</td>");
}

static void end_table(struct buf *out)
{
    buf_puts(out, "</tbody></table></div>\n");
}

/* ---- the sections of the status */

static void add_state(struct buf *out, const struct json *s)
{
    const struct look *look = look_of(json_get_str(s, "state"));

    html(out,
         "<section id=\"state\" class=\"state @\" data-live data-state=\"@\">\n<h1><span class=\"sign\" "
         "aria-hidden=\"true\">@</span> @</h1>\n<p>@</p>\n",
         look->class, json_get_str(s, "state"), look->sign, json_get_str(s, "headline"), json_get_str(s, "summary"));
    buf_puts(out, "<p class=\"note\">As of ");
    add_time(out, json_get_str(s, "at"), "");
    buf_puts(out, ".</p>\n</section>\n");
}

static void add_figure(struct buf *out, const char *name, const char *value, const char *more)
{
    html(out, "<div><dt>@</dt><dd>@", name, value);
    if (more) {
        html(out, " <small>@</small>", more);
    }
    buf_puts(out, "</dd></div>\n");
}

static void add_figures(struct buf *out, const struct json *s)
{
    const struct json *queue = json_get(s, "queue");
    const struct json *hour = json_get(s, "last_hour");
    char *failed = mem_printf("%s failed", amount(hour, "failed_writes").s);
    char *refused = mem_printf("%s refused", amount(hour, "refused").s);
    char *due = mem_printf("%s due now", amount(queue, "due_now").s);
    char *longest = mem_printf("longest %s", seconds_text(json_get(hour, "longest_lag_seconds")).s);

    buf_puts(out, "<section id=\"figures\" data-live>\n<h2 class=\"unseen\">Figures</h2>\n<dl class=\"figures\">\n");
    add_figure(out, "Events, last hour", amount(hour, "events").s, whole(hour, "refused") > 0 ? refused : NULL);
    add_figure(out, "Writes, last hour", amount(hour, "writes").s, whole(hour, "failed_writes") > 0 ? failed : NULL);
    add_figure(out, "Candidates waiting", amount(queue, "waiting").s, whole(queue, "waiting") > 0 ? due : NULL);
    add_figure(out, "In work", amount(queue, "leased").s, NULL);
    add_figure(out, "To be tried again", amount(queue, "retrying").s, NULL);
    add_figure(out, "Longest due", whole(queue, "due_now") > 0 ? duration(whole(queue, "oldest_due_seconds")).s : "-",
               NULL);
    add_figure(out, "Event to ATS, last hour", seconds_text(json_get(hour, "lag_seconds")).s,
               whole(hour, "synced") > 0 ? longest : NULL);
    buf_puts(out, "</dl>\n</section>\n");
    mem_free(failed);
    mem_free(refused);
    mem_free(due);
    mem_free(longest);
}

static void add_issues(struct buf *out, const struct json *issues)
{
    size_t shown = 0;

    buf_puts(out, "<section id=\"issues\" data-live>\n<h2>Open issues</h2>\n");
    if (json_count(issues) == 0) {
        buf_puts(out, "<p>None.</p>\n");
    }
    for (const struct json *i = json_first(issues); i && shown < ISSUES_SHOWN; i = json_next(i), shown++) {
        html(out, "<article class=\"issue @\">\n<h3>", look_of(json_get_str(i, "severity"))->class);
        add_badge(out, json_get_str(i, "severity"));
        buf_putc(out, ' ');
        add_words(out, json_get_str(i, "class"));
        html(out, "</h3>\n<p>@</p>\n<p class=\"hint\"><strong>What to do:</strong> @</p>\n<p class=\"note\">Since ",
             json_get_str(i, "message"), json_get_str(i, "hint"));
        add_time(out, json_get_str(i, "first_seen"), "");
        if (whole(i, "affected_candidates") > 0) {
            html(out, ", @ affected", amount(i, "affected_candidates").s);
        }
        buf_puts(out, ".</p>\n</article>\n");
    }
    if (json_count(issues) > shown) {
        html(out, "<p>And @ more: <code>atsyncctl issues</code> lists them all.</p>\n",
             amount_text((int64_t)(json_count(issues) - shown)).s);
    }
    buf_puts(out, "</section>\n");
}

static void add_charts(struct buf *out, const struct json *hours)
{
    static const struct {
        const char *id, *title, *about;
    } charts[] = {
        {"events", "Events per minute", "webhooks stored"},
        {"writes", "Writes per minute", "taken by the ATS; on top, in red: attempts that failed"},
        {"lag", "Seconds from event to ATS", "line: average; dots: longest"},
    };
    static const char *const columns[] = {"Hour",    "#Events",       "#Refused", "#Writes",
                                          "#Failed", "#Event to ATS", "#Longest"};

    buf_puts(out, "<section id=\"charts\">\n<h2>The last 24 hours</h2>\n<div class=\"charts\">\n");
    for (size_t i = 0; i < ATS_COUNT(charts); i++) {
        html(out,
             "<figure class=\"chart\" data-chart=\"@\" hidden>\n<figcaption>@ <small>@</small></figcaption>\n<div "
             "class=\"plot\" "
             "tabindex=\"0\" role=\"group\" aria-label=\"@. The arrow keys move from time to time.\"></div>\n<p "
             "class=\"readout\"></p>\n</figure>\n",
             charts[i].id, charts[i].title, charts[i].about, charts[i].title);
    }
    buf_puts(out, "</div>\n<p id=\"hatched\" class=\"note\" hidden>Hatched: no daemon ran, or none reached the "
                  "database.</p>\n<details "
                  "id=\"hours\">\n<summary>As a table, by the hour</summary>\n<div id=\"by-hour\" "
                  "data-live>\n");
    begin_table(out, "What was done in each of the last 24 hours", columns, ATS_COUNT(columns));
    for (const struct json *h = json_first(hours); h; h = json_next(h)) {
        buf_puts(out, "<tr>");
        add_time_cell(out, columns[0], json_get_str(h, "at"));
        add_cell(out, columns[1], amount(h, "events").s, NULL);
        add_cell(out, columns[2], amount(h, "refused").s, NULL);
        add_cell(out, columns[3], amount(h, "writes").s, NULL);
        add_cell(out, columns[4], amount(h, "failed_writes").s, NULL);
        add_cell(out, columns[5], seconds_text(json_get(h, "lag_seconds")).s, NULL);
        add_cell(out, columns[6], whole(h, "synced") > 0 ? seconds_text(json_get(h, "longest_lag_seconds")).s : "-",
                 NULL);
        buf_puts(out, "</tr>\n");
    }
    end_table(out);
    buf_puts(out, "</div>\n</details>\n</section>\n");
}

/* "50 in 10 s, 8 at once, today 120 of 1 000" */
static void add_pace(struct buf *out, const struct json *connector)
{
    const struct json *pace = json_get(connector, "pace");
    double per_seconds = 0;

    begin_cell(out, "Pace", NULL);
    if (!pace) {
        buf_puts(out, "not in the configuration");
    } else if (json_num(json_get(pace, "per_seconds"), &per_seconds)) {
        char *seconds = mem_printf("%g", per_seconds);

        html(out, "@ in @ s, @ at once", amount(pace, "requests").s, seconds, amount(pace, "concurrency").s);
        mem_free(seconds);
    } else {
        html(out, "@ at once", amount(pace, "concurrency").s);
    }
    if (whole(pace, "per_day") > 0) {
        html(out, ", today @ of @", amount(connector, "quota_used").s, amount(pace, "per_day").s);
    }
    buf_puts(out, "</td>");
}

static void add_connector(struct buf *out, const struct json *c)
{
    bool works = text_eq(json_get_str(c, "state"), "ok");
    double p95 = 0;

    html(out, "<tr><th scope=\"row\">@ <small>@</small></th>", json_get_str(c, "connector"), json_get_str(c, "type"));
    begin_cell(out, "State", NULL);
    add_badge(out, json_get_str(c, "state"));
    if (!works && has(c, "reason")) {
        html(out, "<br><small>@</small>", json_get_str(c, "reason"));
    }
    if (!works) {
        buf_puts(out, "<br><small>since ");
        add_time(out, json_get_str(c, "since"), "");
        if (has(c, "until")) {
            buf_puts(out, ", until ");
            add_time(out, json_get_str(c, "until"), "");
        }
        buf_puts(out, "</small>");
    }
    buf_puts(out, "</td>");
    begin_cell(out, "#Waiting", NULL);
    add_text(out, amount(c, "waiting_candidates").s);
    if (whole(c, "waiting_candidates") > 0) {
        html(out, "<br><small>oldest @</small>", duration(whole(c, "oldest_waiting_seconds")).s);
    }
    buf_puts(out, "</td>");
    begin_cell(out, "#Calls, last hour", NULL);
    html(out, "@", amount(c, "calls_last_hour").s);
    if (whole(c, "errors_last_hour") > 0) {
        html(out, "<br><small>@ failed</small>", amount(c, "errors_last_hour").s);
    }
    buf_puts(out, "</td>");
    begin_cell(out, "#95% of them within", NULL);
    if (json_num(json_get(c, "p95_ms"), &p95)) {
        html(out, "@ ms", amount_text((int64_t)(p95 + 0.5)).s);
    } else {
        buf_puts(out, "-");
    }
    buf_puts(out, "</td>");
    add_pace(out, c);
    buf_puts(out, "</tr>\n");
}

static void add_connectors(struct buf *out, const struct json *connectors)
{
    static const char *const columns[] = {"Connector",           "State", "#Waiting", "#Calls, last hour",
                                          "#95% of them within", "Pace"};

    buf_puts(out, "<section id=\"connectors\" data-live>\n<h2>Connectors</h2>\n");
    if (json_count(connectors) == 0) {
        buf_puts(out, "<p>None.</p>\n</section>\n");
        return;
    }
    begin_table(out, "Connectors", columns, ATS_COUNT(columns));
    for (const struct json *c = json_first(connectors); c; c = json_next(c)) {
        add_connector(out, c);
    }
    end_table(out);
    buf_puts(out, "</section>\n");
}

static void add_blocked(struct buf *out, const struct json *rows)
{
    static const char *const columns[] = {"Candidate", "Workflow", "State", "Since", "Tried again", "Why"};

    buf_puts(out, "<section id=\"blocked\" data-live>\n<h2>Blocked candidates</h2>\n");
    if (json_count(rows) == 0) {
        buf_puts(out, "<p>None.</p>\n</section>\n");
        return;
    }
    begin_table(out, "Candidates with whom it does not go on, the longest first", columns, ATS_COUNT(columns));
    for (const struct json *r = json_first(rows); r; r = json_next(r)) {
        buf_puts(out, "<tr><th scope=\"row\">");
        add_candidate_link(out, id_of(r));
        buf_puts(out, "</th>");
        add_cell(out, columns[1], json_get_str(r, "workflow_external_id"), NULL);
        add_badge_cell(out, columns[2], json_get_str(r, "sync_state"));
        add_time_cell(out, columns[3], json_get_str(r, "since"));
        add_time_cell(out, columns[4], json_get_str(r, "next_attempt_at"));
        add_cell(out, columns[5], json_get_str(r, "last_error"), "words");
        buf_puts(out, "</tr>\n");
    }
    end_table(out);
    buf_puts(out, "</section>\n");
}

static void add_newest(struct buf *out, const struct json *rows)
{
    static const char *const columns[] = {"Candidate", "Workflow", "Run", "State", "Last event"};

    buf_puts(out, "<section id=\"newest\" data-live>\n<h2>Newest candidates</h2>\n");
    if (json_count(rows) == 0) {
        buf_puts(out,
                 "<p>No events yet. <code>atsyncctl send-sample run-completed</code> sends one.</p>\n</section>\n");
        return;
    }
    begin_table(out, "The candidates with the newest events", columns, ATS_COUNT(columns));
    for (const struct json *r = json_first(rows); r; r = json_next(r)) {
        buf_puts(out, "<tr><th scope=\"row\">");
        add_candidate_link(out, id_of(r));
        buf_puts(out, "</th>");
        add_cell(out, columns[1], json_get_str(r, "workflow_external_id"), NULL);
        add_cell(out, columns[2], json_get_str(r, "run_state"), NULL);
        add_badge_cell(out, columns[3], json_get_str(r, "sync_state"));
        add_time_cell(out, columns[4], json_get_str(r, "last_event_at"));
        buf_puts(out, "</tr>\n");
    }
    end_table(out);
    buf_puts(out, "</section>\n");
}

static void add_about(struct buf *out, const struct json *s)
{
    html(out,
         "<section id=\"about\" data-live>\n<h2>This daemon</h2>\n<p>atsyncd @, instance @, up for @. <a "
         "href=\"api/status\">The same as JSON</a>, <a href=\"metrics\">metrics</a>.</p>\n",
         json_get_str(s, "version"), json_get_str(s, "instance"), duration(whole(s, "uptime_seconds")).s);
    if (json_count(json_get(s, "daemons")) > 1) {
        buf_puts(out, "<p>Delivering on this database:</p>\n<ul>\n");
        for (const struct json *d = json_first(json_get(s, "daemons")); d; d = json_next(d)) {
            html(out, "<li>@ (@), since ", json_get_str(d, "owner"), json_get_str(d, "version"));
            add_time(out, json_get_str(d, "started_at"), "");
            buf_puts(out, "</li>\n");
        }
        buf_puts(out, "</ul>\n");
    }
    buf_puts(out, "</section>\n");
}

void page_status(struct buf *out, const struct json *s, const struct json *hours, const struct page_about *about)
{
    char *title = mem_printf("%s - atsyncd %s", json_get_str(s, "headline"), json_get_str(s, "instance"));
    struct buf main;

    buf_init(&main, out->max);
    add_state(&main, s);
    if (json_get(s, "queue")) {
        add_figures(&main, s);
        add_issues(&main, json_get(s, "issues"));
        add_charts(&main, hours);
        add_connectors(&main, json_get(s, "connectors"));
        add_blocked(&main, json_get(s, "blocked"));
        add_newest(&main, json_get(s, "newest"));
    }
    add_about(&main, s);
    page(out, "status", title, json_get_str(s, "instance"), NULL, about, &main);
    buf_free(&main);
    mem_free(title);
}

/* ---- one candidate */

static void add_pair(struct buf *out, const char *name, const char *value)
{
    if (value) {
        html(out, "<div><dt>@</dt><dd>@</dd></div>\n", name, value);
    }
}

static void add_time_pair(struct buf *out, const char *name, const char *iso)
{
    if (iso) {
        html(out, "<div><dt>@</dt><dd>", name);
        add_time(out, iso, "");
        buf_puts(out, "</dd></div>\n");
    }
}

static void add_sync(struct buf *out, const struct json *rows)
{
    buf_puts(out, "<section id=\"sync\">\n<h2>Workflows</h2>\n");
    if (json_count(rows) == 0) {
        buf_puts(out, "<p>None yet.</p>\n");
    }
    for (const struct json *r = json_first(rows); r; r = json_next(r)) {
        const char *workflow = json_get_str(r, "workflow_external_id");

        html(out, "<article class=\"workflow\">\n<h3>@ ", workflow ? workflow : "Workflow without an external id");
        add_badge(out, json_get_str(r, "sync_state"));
        buf_puts(out, "</h3>\n<dl>\n");
        add_pair(out, "Connector", json_get_str(r, "connector"));
        add_pair(out, "Job", json_get_str(r, "job"));
        add_pair(out, "Run", json_get_str(r, "run_id"));
        add_pair(out, "State of the run", json_get_str(r, "run_state"));
        add_pair(out, "Outcome", json_get_str(r, "outcome"));
        add_pair(out, "Result", json_get_str(r, "result"));
        if (whole(r, "pending_writes") > 0) {
            add_pair(out, "Writes waiting", amount(r, "pending_writes").s);
        }
        if (whole(r, "dead_writes") > 0) {
            add_pair(out, "Dead writes", amount(r, "dead_writes").s);
        }
        add_time_pair(out, "Last event", json_get_str(r, "last_event_at"));
        add_time_pair(out, "Last synced", json_get_str(r, "last_synced_at"));
        add_time_pair(out, "Blocked since", json_get_str(r, "blocked_since"));
        add_time_pair(out, "Next attempt", json_get_str(r, "next_attempt_at"));
        add_pair(out, "Last error", json_get_str(r, "last_error"));
        buf_puts(out, "</dl>\n</article>\n");
    }
    buf_puts(out, "</section>\n");
}

static void add_open_writes(struct buf *out, const struct json *rows, bool personal)
{
    static const char *const columns[] = {"Write", "State", "#Attempts", "Next attempt", "Why not", "Value"};
    size_t count = ATS_COUNT(columns) - (personal ? 0 : 1);

    if (json_count(rows) == 0) {
        return;
    }
    buf_puts(out, "<section id=\"writes\">\n<h2>Writes not done</h2>\n");
    begin_table(out, "Writes that are wanted and not done", columns, count);
    for (const struct json *w = json_first(rows); w; w = json_next(w)) {
        html(out, "<tr><th scope=\"row\">@ @<br><small>@</small></th>", json_get_str(w, "kind"),
             json_get_str(w, "target"), json_get_str(w, "connector"));
        add_badge_cell(out, columns[1], json_get_str(w, "state"));
        add_cell(out, columns[2], amount(w, "attempts").s, NULL);
        add_time_cell(out, columns[3], json_get_str(w, "next_attempt_at"));
        add_cell(out, columns[4], json_get_str(w, "error"), "words");
        if (personal) {
            add_cell(out, columns[5], json_get_str(w, "value"), "words");
        }
        buf_puts(out, "</tr>\n");
    }
    end_table(out);
    buf_puts(out, "</section>\n");
}

static void add_answers(struct buf *out, const struct json *rows)
{
    static const char *const columns[] = {"Question", "Answer", "State", "Light", "Outcome", "#Score", "Answered"};

    buf_puts(out, "<section id=\"answers\">\n<h2>Answers</h2>\n");
    if (json_count(rows) == 0) {
        buf_puts(out, "<p>None.</p>\n</section>\n");
        return;
    }
    begin_table(out, "What the candidate answered", columns, ATS_COUNT(columns));
    for (const struct json *a = json_first(rows); a; a = json_next(a)) {
        const char *answer = json_get_str(a, "answer");
        size_t len = answer ? strlen(answer) : 0;
        char *cut = mem_strndup(answer ? answer : "", text_utf8_cut(answer ? answer : "", len, ANSWER_MAX_BYTES));
        char *score = json_type(json_get(a, "score")) == JSON_NUMBER ? json_text(json_get(a, "score")) : NULL;

        html(out, "<tr><th scope=\"row\">@<br><small>@</small></th>", json_get_str(a, "slug"),
             json_get_str(a, "workflow_external_id"));
        begin_cell(out, columns[1], "words");
        html(out, "@@</td>", cut, len > ANSWER_MAX_BYTES ? "\xe2\x80\xa6" : NULL);
        add_cell(out, columns[2], json_get_str(a, "answer_state"), NULL);
        add_cell(out, columns[3], json_get_str(a, "traffic_light"), NULL);
        add_cell(out, columns[4], json_get_str(a, "outcome"), NULL);
        add_cell(out, columns[5], score, NULL);
        add_time_cell(out, columns[6], json_get_str(a, "answered_at"));
        buf_puts(out, "</tr>\n");
        mem_free(score);
        mem_free(cut);
    }
    end_table(out);
    buf_puts(out, "</section>\n");
}

static void add_contacts(struct buf *out, const struct json *rows)
{
    static const char *const columns[] = {"When", "E-mail", "Phone"};

    if (json_count(rows) == 0) {
        return;
    }
    buf_puts(out, "<section id=\"contacts\">\n<h2>Contact</h2>\n");
    begin_table(out, "How the candidate was to be contacted", columns, ATS_COUNT(columns));
    for (const struct json *c = json_first(rows); c; c = json_next(c)) {
        buf_puts(out, "<tr>");
        add_time_cell(out, columns[0], json_get_str(c, "at"));
        add_cell(out, columns[1], json_get_str(c, "email"), "words");
        add_cell(out, columns[2], json_get_str(c, "phone_number"), NULL);
        buf_puts(out, "</tr>\n");
    }
    end_table(out);
    buf_puts(out, "</section>\n");
}

static void add_personal(struct buf *out, const struct json *c, const struct page_about *about)
{
    if (json_get_bool(c, "personal")) {
        add_answers(out, json_get(c, "answers"));
        add_contacts(out, json_get(c, "contacts"));
        return;
    }
    buf_puts(out, "<section id=\"personal\">\n<h2>Answers and contact</h2>\n");
    if (about->show_personal) {
        buf_puts(out, "<form action=\"candidate?id=");
        add_uri(out, json_get_str(c, "id"));
        buf_puts(out, "\" method=\"post\"><button id=\"show-personal\">Show personal data</button></form>\n<p "
                      "class=\"note\">The log says who looked.</p>\n");
    } else {
        buf_puts(out, "<p>Not shown here: <code>admin.show_personal</code> is off. They are in the views "
                      "<code>answers</code> and <code>contact_resolutions</code>.</p>\n");
    }
    buf_puts(out, "</section>\n");
}

/* Rows come in the order of time; somebody who looks for what went wrong begins at the end. */
static void add_backwards(struct buf *out, const struct json *row)
{
    if (!row) {
        return;
    }
    add_backwards(out, json_next(row));
    html(out,
         "<li class=\"@\"><span class=\"kind\">@</span> <span "
         "class=\"what\"><strong>@</strong><br><small>@</small></span> ",
         json_get_str(row, "kind"), json_get_str(row, "kind"), json_get_str(row, "summary"),
         json_get_str(row, "detail"));
    add_time(out, json_get_str(row, "at"), "");
    buf_puts(out, "</li>\n");
}

static void add_timeline(struct buf *out, const struct json *rows)
{
    buf_puts(out, "<section id=\"timeline\">\n<h2>Timeline</h2>\n");
    if (json_count(rows) == 0) {
        buf_puts(out, "<p>Nothing is known yet under an external id.</p>\n");
    } else {
        buf_puts(out, "<p class=\"note\">The newest first.</p>\n<ol class=\"timeline\">\n");
        add_backwards(out, json_first(rows));
        buf_puts(out, "</ol>\n");
    }
    buf_puts(out, "</section>\n");
}

static void add_others(struct buf *out, const struct json *found)
{
    if (json_count(found) < 2) {
        return;
    }
    buf_puts(out, "<p>Also known under this name:");
    for (const struct json *f = json_next(json_first(found)); f; f = json_next(f)) {
        buf_putc(out, ' ');
        add_candidate_link(out, json_str(f));
    }
    buf_puts(out, "</p>\n");
}

void page_candidate(struct buf *out, const struct json *c, const char *instance, const struct page_about *about)
{
    const char *id = json_get_str(c, "id");
    char *title = mem_printf("%s - atsyncd %s", id ? id : "Nobody found", instance);
    struct buf main;

    buf_init(&main, out->max);
    if (id) {
        html(&main, "<h1>Candidate @</h1>\n", id);
        add_others(&main, json_get(c, "found"));
        add_sync(&main, json_get(c, "sync"));
        add_open_writes(&main, json_get(c, "open_writes"), json_get_bool(c, "personal"));
        add_personal(&main, c, about);
        add_timeline(&main, json_get(c, "timeline"));
    } else {
        html(&main,
             "<h1>Nobody found</h1>\n<p>No candidate, profile or run is called @. An id has to be given in full, as "
             "the ATS and Popp write it.</p>\n",
             json_get_str(c, "words"));
    }
    page(out, "candidate", title, instance, json_get_str(c, "words"), about, &main);
    buf_free(&main);
    mem_free(title);
}

void page_failure(struct buf *out, const char *instance, const char *words, const char *reason,
                  const struct page_about *about)
{
    struct buf main;

    buf_init(&main, out->max);
    html(&main, "<h1>This cannot be shown now</h1>\n<p>@</p>\n<p><a href=\"./\">How it stands</a></p>\n", reason);
    page(out, "failure", "Not now - atsyncd", instance, words, about, &main);
    buf_free(&main);
}

void page_login(struct buf *out, const char *message)
{
    struct part parts[] = {{.name = "message"}};
    struct buf markup;

    buf_init(&markup, out->max);
    if (message) {
        html(&markup, "<p class=\"stale\" role=\"alert\">@</p>\n", message);
    }
    parts[0].markup = buf_text(&markup);
    fill_file(out, "login.html", parts, ATS_COUNT(parts));
    buf_free(&markup);
}
