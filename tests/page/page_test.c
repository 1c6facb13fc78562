/*
 * The status page as people meet it, in Chromium: what it says, that it can be used with the mouse, the keyboard, on a
 * phone and in the dark, that its script breaks none of its own rules, and that it asks nobody else for anything.
 * Pictures are left beside the test programs.
 */
#include "base/text.h"
#include "lib/browser.h"

/* As E2E_TEST; skipped where there is no browser. */
#define PAGE_TEST(name)                                                                                                \
    static void name##_in_browser(struct harness *h);                                                                  \
    E2E_TEST(name)                                                                                                     \
    {                                                                                                                  \
        if (!browser_exists()) {                                                                                       \
            harness_passed(h);                                                                                         \
            print_message("chromium and chromedriver are not installed\n");                                            \
            skip();                                                                                                    \
        }                                                                                                              \
        name##_in_browser(h);                                                                                          \
    }                                                                                                                  \
    static void name##_in_browser(struct harness *h)
#define PAGE(b, path) browser_open(b, arena_printf(h->arena, "http://127.0.0.1:%u%s", d->admin_port, path))
#define MARKUP "<img src=x onerror=alert(1)>"

static const char two_connectors[] = "rate_limit: 1000/1s\nconcurrency: 8\ntimeout: 5s\nallow_private_addresses: true\n"
                                     "retry: {base: 50ms, cap: 500ms, max_age: 1h}\n";

/* Each test ends with this: the browser had nothing to complain about, and has asked nobody but the daemon. */
static void assert_clean(struct harness *h, struct browser *b, const struct program *d)
{
    const char *origin = arena_printf(h->arena, "http://127.0.0.1:%u/", d->admin_port);
    const char *requests = browser_requests(b);

    assert_string_equal(browser_console(b), "");
    assert_true(text_has(requests, origin));
    for (const char *line = requests; *line != '\0'; line += strcspn(line, "\n") + 1) {
        bool is_the_browsers = text_starts(line, "chrome:") || text_starts(line, "chrome-untrusted:"); /* first page */

        if (!text_starts(line, origin) && !text_starts(line, "data:") && !is_the_browsers) {
            fail_msg("a request to somebody else: %.*s", (int)strcspn(line, "\n"), line);
        }
    }
}

/* Whatever is read must stand out from what is behind it (WCAG 2.2, 1.4.3: 4.5 to 1), and nothing may stick out at the
 * side. */
static const char contrast[] =
    "const rgb = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };"
    "const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) "
    "/ 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };"
    "const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if "
    "(c[3] === 1) return c; } return [255, 255, 255, 1]; };"
    "const bad = [];"
    "for (const e of document.querySelectorAll('body *')) {"
    "  if (!e.checkVisibility() || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;"
    "  const svg = e instanceof SVGElement; const css = getComputedStyle(e);"
    "  const a = light(rgb(svg ? css.fill : css.color).slice(0, 3)), z = light(behind(e).slice(0, 3));"
    "  const ratio = (Math.max(a, z) + 0.05) / (Math.min(a, z) + 0.05);"
    "  if (ratio < 4.5) bad.push(e.tagName + ' ' + e.className + ' ' + ratio.toFixed(2));"
    "}"
    "if (document.scrollingElement.scrollWidth > document.scrollingElement.clientWidth) bad.push('wider than the "
    "screen: ' + [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > "
    "document.scrollingElement.clientWidth).map((e) => e.tagName + '.' + e.className).slice(0, 5));"
    "if (innerWidth < 700) for (const e of document.querySelectorAll('.scroll')) if (e.scrollWidth > e.clientWidth) "
    "bad.push('a table has to be pushed sideways');"
    "return [...new Set(bad)].join('; ')";

static void assert_readable(struct browser *b)
{
    assert_string_equal(browser_run(b, contrast), "\"\"");
}

/* A day as a busy company has it, with an hour in which no daemon ran. */
static void make_a_day(struct harness *h)
{
    sql_script(h,
               "insert into atsync.activity_minute "
               "select m, e, e / 50, e / 90, e * 2, case when i between 300 and 330 then e else 0 end, e * 3, 0, e, e "
               "* (200 + i % 7 * 40), 1000 + 4000 * (i % 97 = 0)::int "
               "from (select date_trunc('minute', now()) - i * interval '1 minute' as m, i, "
               "(40 + 35 * sin(i / 110.0) + i * 7 % 13)::bigint as e from generate_series(1, 1439) i) x "
               "where i not between 700 and 760 on conflict do nothing");
}

/* Events of a company with several things wrong at once. */
static void make_trouble(struct harness *h, struct program *d)
{
    ats_fault(h, "{\"match\":{\"path_contains\":\"/candidates/ats_dead\"},\"action\":\"status\",\"status\":422,"
                 "\"body\":\"{\\\"message\\\":\\\"Stage <b>Recruiter screen</b> does not exist\\\"}\",\"times\":-1}");
    popp_deliver(h, d, popp_event(h, "contact-resolved", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_dead", "run", "run_dead", NULL));
    popp_deliver(h, d,
                 popp_event(h, "run-started", "candidate", "ats_unmapped", "run", "run_unmapped",
                            "data.workflowExternalId", "night-nurses-leeds", NULL));
    popp_deliver(h, d,
                 popp_event(h, "run-started", "candidate", "cp_x", "run", "run_x", "data.candidateProfileExternalId",
                            POPP_ABSENT, NULL));
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", MARKUP, "run", "run_markup", NULL));
    for (int i = 0; i < 5; i++) {
        popp_deliver(h, d,
                     popp_event(h, "run-completed", "candidate", arena_printf(h->arena, "ats_%d", 1000 + i), "run",
                                arena_printf(h->arena, "run_%d", 1000 + i), NULL));
    }
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", "7");
    wait_sql(h,
             "select count(*) >= 2 from atsync.issues where closed_at is null and class in ('dead_writes', 'unmapped')",
             "true");
}

PAGE_TEST(a_new_system)
{
    struct program *d = daemon_start(h, NULL);
    struct browser *b = browser_start(h);

    browser_colours(b, "light");
    PAGE(b, "/");
    wait_browser(b, "#state h1", "All is well");
    wait_browser(b, "#state p", "Nothing has come in during the last hour. Nothing waits.");
    wait_browser(b, "#issues", "None.");
    wait_browser(b, "#blocked", "None.");
    wait_browser(b, "#newest", "No events yet.");
    wait_browser(b, "#connectors tbody th", "sandbox");
    wait_browser(b, "#connectors td[data-label=Pace]", "1\u202f000 in 1 s, 8 at once");
    wait_browser(b, "[data-chart=events] .readout", ".");
    assert_readable(b);
    browser_picture(b, "page-empty-light");
    browser_colours(b, "dark");
    assert_readable(b);
    browser_picture(b, "page-empty-dark");
    assert_clean(h, b, d);
    daemon_stop(h, d);
}

PAGE_TEST(a_bad_day)
{
    struct daemon_conf conf = {.connector = two_connectors};
    struct program *d = daemon_start(h, &conf);
    struct browser *b = browser_start(h);

    make_a_day(h);
    make_trouble(h, d);
    browser_colours(b, "light");
    PAGE(b, "/");
    wait_browser(b, "#state h1", "Trouble");
    wait_browser(b, "#state p", "1 problem: Writes of workflow cedar-rgn-screening could not be made");
    wait_browser(b, "#issues .issue.bad", "What to do:");
    wait_browser(b, "#issues", "night-nurses-leeds");
    wait_browser(b, "#blocked", "ats_dead");
    wait_browser(b, "#blocked", "waiting for identity");
    wait_browser(b, "#newest", MARKUP);
    wait_browser(b, "[data-chart=events] .readout", "in all; the most at");
    wait_browser(b, "[data-chart=writes] .readout", "attempts failed");
    wait_browser(b, "[data-chart=lag] .readout", "average");
    /* drawn: columns, failed ones, the gap */
    assert_string_equal(browser_run(b, "return document.querySelectorAll('rect.events').length > 50 && "
                                       "document.querySelectorAll('rect.failed').length > 0 && "
                                       "document.querySelectorAll('rect[fill^=url]').length > 0 && "
                                       "document.querySelectorAll('path.average').length === 1"),
                        "true");
    /* what comes from outside stays text */
    assert_string_equal(browser_run(b, "return document.querySelectorAll('main img, main b').length"), "0");
    assert_readable(b);
    browser_picture(b, "page-trouble-light");
    browser_run(b, "document.querySelector('#connectors').scrollIntoView()");
    browser_picture(b, "page-trouble-light-lists");
    browser_colours(b, "dark");
    assert_readable(b);
    browser_run(b, "scrollTo(0, 0)");
    browser_picture(b, "page-trouble-dark");
    browser_size(b, 390, 844, true);
    wait_script(b, "return innerWidth", "390");
    assert_readable(b);
    browser_picture(b, "page-trouble-phone-dark");
    browser_colours(b, "light");
    browser_run(b, "document.querySelector('#connectors').scrollIntoView()");
    assert_readable(b);
    browser_picture(b, "page-trouble-phone-light-lists");
    /* the table by the hour, for who cannot see the charts */
    browser_run(b, "document.querySelector('#hours').scrollIntoView({block: 'center'})");
    browser_click(b, "#hours summary");
    assert_true(browser_has(b, "#hours caption", "What was done in each of the last 24 hours"));
    wait_script(b, "return document.querySelectorAll('#hours tbody tr').length >= 23", "true");
    assert_readable(b);
    browser_picture(b, "page-trouble-phone-light-hours");
    assert_clean(h, b, d);
    daemon_stop(h, d);
}

PAGE_TEST(search_and_the_story_of_a_candidate)
{
    struct program *d = daemon_start(h, NULL);
    struct browser *b = browser_start(h);

    make_trouble(h, d);
    browser_colours(b, "light");
    PAGE(b, "/");
    browser_type(b, "#search", "ats_dead");
    browser_click(b, ".search button");
    wait_browser(b, "h1", "Candidate ats_dead");
    wait_browser(b, "#sync", "cedar-rgn-screening");
    wait_browser(b, "#sync", "dead");
    wait_browser(b, "#writes", "does not exist");
    wait_browser(b, "#timeline", "WORKFLOW_RUN_COMPLETED");
    wait_browser(b, "#timeline", "422");
    wait_browser(b, "#personal", "admin.show_personal is off");
    assert_readable(b);
    browser_picture(b, "page-candidate-light");
    browser_colours(b, "dark");
    browser_size(b, 390, 844, true);
    assert_readable(b);
    browser_picture(b, "page-candidate-phone-dark");
    /* by run, by profile, by a link, and in vain */
    PAGE(b, "/candidate?id=run_4a1e9c");
    wait_browser(b, "h1", "Candidate ats_42");
    PAGE(b, "/candidate?id=cp_ats_dead");
    wait_browser(b, "h1", "Candidate ats_dead");
    PAGE(b, "/");
    browser_click(b, "#newest a[href*=onerror]");
    wait_browser(b, "h1", "Candidate " MARKUP);
    assert_string_equal(browser_run(b, "return document.querySelectorAll('main img').length"), "0");
    assert_string_equal(browser_console(b), "");
    PAGE(b, "/candidate?id=nobody%3Cb%3E");
    wait_browser(b, "main h1 + p", "No candidate, profile or run is called nobody<b>.");
    assert_true(text_has(browser_console(b), "404")); /* the page itself */
    assert_clean(h, b, d);
    daemon_stop(h, d);
}

PAGE_TEST(personal_data_only_after_a_click)
{
    struct daemon_conf conf = {.admin = "show_personal: true\n"};
    struct program *d = daemon_start(h, &conf);
    struct browser *b = browser_start(h);

    make_trouble(h, d);
    PAGE(b, "/candidate?id=ats_42");
    wait_browser(b, "#timeline", "WORKFLOW_RUN_COMPLETED");
    assert_false(browser_has(b, "body", "18C2094E"));
    assert_string_equal(browser_run(b, "return document.documentElement.outerHTML.includes('18C2094E')"), "false");
    assert_false(text_has(program_log(h, d), "personal data shown"));
    browser_click(b, "#show-personal");
    wait_browser(b, "#answers", "Yes, my PIN is 18C2094E and it runs until March");
    wait_browser(b, "#contacts", "m.okafor@mail.example");
    wait_browser(b, "#contacts", "+447700900142");
    assert_readable(b);
    browser_picture(b, "page-personal");
    assert_true(text_has(program_log(h, d), "personal data shown"));
    assert_false(text_has(program_log(h, d), "m.okafor"));
    /* another page, and it is gone again */
    PAGE(b, "/candidate?id=ats_42");
    wait_browser(b, "#personal", "The log says who looked.");
    assert_clean(h, b, d);
    daemon_stop(h, d);
}

PAGE_TEST(with_the_keyboard_alone)
{
    struct program *d = daemon_start(h, NULL);
    struct browser *b = browser_start(h);

    make_a_day(h);
    make_trouble(h, d);
    PAGE(b, "/");
    wait_browser(b, "[data-chart=events] .readout", "in all");
    browser_keys(b, BROWSER_TAB);
    wait_script(b, "return document.activeElement.className", "\"skip\"");
    browser_keys(b, BROWSER_ENTER);
    wait_script(b, "return document.activeElement.id", "\"main\"");
    /* every figure of a chart can be walked to */
    browser_run(b, "document.querySelector('[data-chart=events] .plot').focus()");
    browser_keys(b, BROWSER_LEFT);
    wait_browser(b, "[data-chart=events] .readout", " a minute (");
    browser_run(b, "document.body.dataset.last = document.querySelector('[data-chart=events] .readout').textContent");
    browser_keys(b, BROWSER_LEFT);
    wait_script(
        b, "return document.querySelector('[data-chart=events] .readout').textContent !== document.body.dataset.last",
        "true");
    wait_script(b, "return document.querySelector('[data-chart=events] .readout').getAttribute('aria-live')",
                "\"polite\"");
    browser_picture(b, "page-chart-cursor");
    browser_keys(b, BROWSER_TAB);
    wait_script(b, "return document.activeElement.parentElement.dataset.chart", "\"writes\"");
    wait_browser(b, "[data-chart=events] .readout", "in all; the most at");
    /* what can be used can be seen to have the focus */
    assert_string_equal(browser_run(b, "return getComputedStyle(document.activeElement).outlineStyle + "
                                       "(parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2)"),
                        "\"solidtrue\"");
    browser_keys(b, "/ats_42" BROWSER_ENTER);
    wait_browser(b, "h1", "Candidate ats_42");
    /* everything that can be used has a name, every table its caption, every page one main heading */
    assert_string_equal(
        browser_run(b, "return [...document.querySelectorAll('a, button, input')].filter((e) => !(e.innerText || "
                       "e.labels?.length || e.getAttribute('aria-label'))).length + "
                       "[...document.querySelectorAll('table')].filter((t) => !t.caption).length + "
                       "Math.abs(document.querySelectorAll('h1').length - 1)"),
        "0");
    assert_clean(h, b, d);
    daemon_stop(h, d);
}

#define BACKGROUND "return getComputedStyle(document.body).backgroundColor"

PAGE_TEST(the_reader_chooses_the_colours)
{
    struct program *d = daemon_start(h, NULL);
    struct browser *b = browser_start(h);
    const char *light, *dark;

    browser_colours(b, "dark");
    PAGE(b, "/");
    wait_browser(b, "[data-colours=auto][aria-pressed=true]", "Auto");
    dark = browser_run(b, BACKGROUND);
    browser_click(b, ".controls [data-colours=light]");
    light = browser_run(b, BACKGROUND);
    assert_string_not_equal(light, dark);
    assert_readable(b);
    PAGE(b, "/candidate?id=nobody"); /* kept, and on every page */
    (void)browser_console(b);
    wait_browser(b, "[data-colours=light][aria-pressed=true]", "Light");
    assert_string_equal(browser_run(b, BACKGROUND), light);
    browser_colours(b, "light");
    browser_click(b, ".controls [data-colours=dark]");
    assert_string_equal(browser_run(b, BACKGROUND), dark);
    assert_readable(b);
    browser_click(b, ".controls [data-colours=auto]");
    assert_string_equal(browser_run(b, BACKGROUND), light);
    assert_clean(h, b, d);
    daemon_stop(h, d);
}

PAGE_TEST(the_figures_stay_fresh)
{
    struct program *d = daemon_start(h, NULL);
    struct browser *b = browser_start(h);

    PAGE(b, "/");
    wait_browser(b, "#newest", "No events yet.");
    browser_run(b, "document.body.dataset.untouched = '1'");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_browser(b, "#newest", "ats_42");
    wait_browser(b, "#newest", "synced");
    assert_string_equal(browser_run(b, "return document.body.dataset.untouched"), "\"1\"");
    assert_clean(h, b, d);
    /* paused: the page says nothing new, and the button says so */
    browser_click(b, "#pause");
    assert_true(browser_has(b, "#pause[aria-pressed=true]", "Pause"));
    browser_click(b, "#pause");
    /* the daemon is away, and comes back */
    daemon_stop(h, d);
    /* what it answers last, when it is ending: no figures */
    browser_run(b, "const real = XMLHttpRequest; window.XMLHttpRequest = class { open() {} send() { "
                   "if (this.responseType !== 'document') return this.onerror(); "
                   "window.XMLHttpRequest = real; this.status = 200; "
                   "this.response = document.implementation.createHTMLDocument('Not ready'); "
                   "this.onload(); } }");
    browser_click(b, "#pause");
    browser_click(b, "#pause");
    wait_browser(b, "#stale", "The daemon does not answer. What is shown here is of");
    assert_readable(b);
    browser_picture(b, "page-stale");
    daemon_start_again(h, d);
    wait_script(b, "return document.getElementById('stale').hidden", "true");
    /* the database is away, and comes back */
    pg_stop(h, "immediate");
    wait_browser(b, "#state h1", "Not ready");
    assert_readable(b);
    browser_picture(b, "page-not-ready");
    pg_start(h);
    wait_browser(b, "#newest", "ats_42");
    daemon_stop(h, d);
}

PAGE_TEST(signing_in)
{
    struct daemon_conf conf = {.admin = "token: \"let me in, please\"\n"};
    struct program *d = daemon_start(h, &conf);
    struct browser *b = browser_start(h);

    browser_colours(b, "dark");
    PAGE(b, "/");
    wait_browser(b, "label[for=token]", "Token");
    assert_readable(b);
    browser_picture(b, "page-login-dark");
    browser_type(b, "#token", "let me in");
    browser_click(b, "button");
    wait_browser(b, "[role=alert]", "This is not the token.");
    assert_readable(b);
    browser_type(b, "#token", "let me in, please");
    browser_click(b, "button");
    wait_browser(b, "#state h1", "All is well");
    assert_string_equal(browser_run(b, "return document.cookie"), "\"\""); /* no script sees it */
    PAGE(b, "/candidate?id=x");
    wait_browser(b, "h1", "Nobody found");
    (void)browser_console(b); /* 401 and 404 of the pages themselves */
    browser_click(b, ".logout button");
    wait_browser(b, "label[for=token]", "Token");
    PAGE(b, "/");
    wait_browser(b, "label[for=token]", "Token");
    daemon_stop(h, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_new_system),
        E2E_RUN(a_bad_day),
        E2E_RUN(search_and_the_story_of_a_candidate),
        E2E_RUN(personal_data_only_after_a_click),
        E2E_RUN(with_the_keyboard_alone),
        E2E_RUN(the_reader_chooses_the_colours),
        E2E_RUN(the_figures_stay_fresh),
        E2E_RUN(signing_in),
    };

    return e2e_main(tests);
}
