#include "lib/browser.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "lib/crypto.h"

enum { TEXT_MAX_BYTES = 32 * 1024 * 1024 };

#define ELEMENT_KEY "element-6066-11e4-a52e-4f735466cecf" /* W3C WebDriver, section 12 */

struct browser {
    struct harness *h;
    struct program *driver;
    const char *session;
};

/* The first of these programs that is in the PATH, or NULL. */
static const char *installed(const char *const *names)
{
    static const char *const dirs[] = {"/usr/bin", "/usr/local/bin", "/usr/lib64/chromium-browser",
                                       "/usr/lib/chromium"};
    static char path[256];

    for (; *names != NULL; names++) {
        for (size_t i = 0; i < ATS_COUNT(dirs); i++) {
            (void)snprintf(path, sizeof path, "%s/%s", dirs[i], *names);
            if (access(path, X_OK) == 0)
                return path;
        }
    }
    return NULL;
}

static const char *chromium(void)
{
    static const char *const names[] = {"chromium", "chromium-browser", "google-chrome", "chrome", NULL};

    return installed(names);
}

static const char *chromedriver(void)
{
    static const char *const names[] = {"chromedriver", NULL};

    return installed(names);
}

bool browser_exists(void)
{
    return chromium() != NULL && chromedriver() != NULL;
}

/* ---- WebDriver */

/* The member "value" of the answer. */
static const struct json *call(struct browser *b, const char *method, const char *path, const char *body)
{
    struct harness *h = b->h;
    struct http_answer a =
        http_call(h, b->driver->port, method,
                  arena_printf(h->arena, "/session%s%s%s", b->session ? "/" : "", b->session ? b->session : "", path),
                  "Content-Type: application/json\r\n", body, body != NULL ? strlen(body) : 0);

    if (a.status != 200)
        fail_msg("WebDriver %s %s %s: %d %.1000s", method, path, body != NULL ? body : "", a.status, a.body);
    return json_get(json_of(h, a.body), "value");
}

static const char *quoted(struct browser *b, const char *text)
{
    struct json *j = json_string(text);
    char *quote = json_text(j);
    const char *copy = arena_strdup(b->h->arena, quote);

    mem_free(quote);
    json_free(j);
    return copy;
}

static const char *text_of(struct browser *b, const struct json *j)
{
    char *text = json_text(j);
    const char *copy = arena_strdup(b->h->arena, text);

    mem_free(text);
    return copy;
}

static bool answers(struct harness *h, void *arg)
{
    const struct program *driver = arg;

    return http_call(h, driver->port, "GET", "/status", NULL, NULL, 0).status == 200;
}

struct browser *browser_start(struct harness *h)
{
    struct browser *b = arena_alloc(h->arena, sizeof *b);
    unsigned port = free_port(h);
    const char *binary = arena_strdup(h->arena, chromium());
    const struct json *session;

    *b = (struct browser){.h = h};
    b->driver = program_start(h, chromedriver(), arena_printf(h->arena, "--port=%u", port), NULL);
    b->driver->port = port;
    wait_until(h, answers, b->driver, "chromedriver answers");
    /* The pipe lets Chromium end with chromedriver, however that ends. The directory is new: no profile of before. */
    session = call(
        b, "POST", "",
        arena_printf(h->arena,
                     "{\"capabilities\":{\"alwaysMatch\":{\"goog:loggingPrefs\":{\"browser\":\"ALL\",\"performance\":"
                     "\"ALL\"},\"goog:chromeOptions\":{\"binary\":\"%s\",\"args\":[\"--headless\",\"--no-sandbox\","
                     "\"--disable-gpu\",\"--disable-quic\",\"--no-first-run\",\"--disable-background-networking\","
                     "\"--disable-component-update\",\"--disable-sync\",\"--disable-dev-shm-usage\","
                     "\"--remote-debugging-pipe\",\"--hide-scrollbars\",\"--user-data-dir=%s/chromium-%u\"]}}}}",
                     binary, h->dir, port));
    b->session = arena_strdup(h->arena, json_get_str(session, "sessionId"));
    browser_size(b, 1200, 900, false);
    return b;
}

static void cdp(struct browser *b, const char *command, const char *parameters)
{
    (void)call(b, "POST", "/goog/cdp/execute",
               arena_printf(b->h->arena, "{\"cmd\":\"%s\",\"params\":%s}", command, parameters));
}

void browser_size(struct browser *b, unsigned width, unsigned height, bool phone)
{
    cdp(b, "Emulation.setDeviceMetricsOverride",
        arena_printf(b->h->arena, "{\"width\":%u,\"height\":%u,\"deviceScaleFactor\":%d,\"mobile\":%s}", width, height,
                     phone ? 2 : 1, phone ? "true" : "false"));
}

void browser_colours(struct browser *b, const char *scheme)
{
    cdp(b, "Emulation.setEmulatedMedia",
        arena_printf(b->h->arena, "{\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"%s\"}]}", scheme));
}

void browser_open(struct browser *b, const char *url)
{
    (void)call(b, "POST", "/url", arena_printf(b->h->arena, "{\"url\":%s}", quoted(b, url)));
}

static const char *element(struct browser *b, const char *css)
{
    const struct json *found = call(
        b, "POST", "/element", arena_printf(b->h->arena, "{\"using\":\"css selector\",\"value\":%s}", quoted(b, css)));

    return arena_strdup(b->h->arena, json_get_str(found, ELEMENT_KEY));
}

void browser_click(struct browser *b, const char *css)
{
    (void)call(b, "POST", arena_printf(b->h->arena, "/element/%s/click", element(b, css)), "{}");
}

void browser_type(struct browser *b, const char *css, const char *text)
{
    (void)call(b, "POST", arena_printf(b->h->arena, "/element/%s/value", element(b, css)),
               arena_printf(b->h->arena, "{\"text\":%s}", quoted(b, text)));
}

void browser_keys(struct browser *b, const char *keys)
{
    struct buf out;

    buf_init(&out, TEXT_MAX_BYTES);
    buf_puts(&out, "{\"actions\":[{\"type\":\"key\",\"id\":\"keys\",\"actions\":[");
    while (*keys != '\0') {
        size_t len = 1;
        const char *key;

        while (((unsigned char)keys[len] & 0xc0) == 0x80)
            len++;
        key = quoted(b, arena_strndup(b->h->arena, keys, len));
        buf_printf(&out, "{\"type\":\"keyDown\",\"value\":%s},{\"type\":\"keyUp\",\"value\":%s}", key, key);
        keys += len;
        buf_puts(&out, *keys != '\0' ? "," : "");
    }
    buf_puts(&out, "]}]}");
    (void)call(b, "POST", "/actions", buf_text(&out));
    buf_free(&out);
}

const char *browser_run(struct browser *b, const char *script)
{
    return text_of(b, call(b, "POST", "/execute/sync",
                           arena_printf(b->h->arena, "{\"script\":%s,\"args\":[]}", quoted(b, script))));
}

bool browser_has(struct browser *b, const char *css, const char *text)
{
    const char *script = arena_printf(
        b->h->arena,
        "const e = document.querySelector(%s); return !!e && e.checkVisibility() && e.innerText.includes(%s)",
        quoted(b, css), quoted(b, text));

    return strcmp(browser_run(b, script), "true") == 0;
}

void wait_script(struct browser *b, const char *script, const char *expected_json)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    const char *is = browser_run(b, script);

    while (strcmp(is, expected_json) != 0) {
        if (clock_mono_ms() > until_ms)
            fail_msg("not within %d s: %s\nis %s\nand should be %s", DEADLINE_MS / 1000, script, is, expected_json);
        is = browser_run(b, script);
    }
}

void wait_browser(struct browser *b, const char *css, const char *text)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;

    while (!browser_has(b, css, text)) {
        if (clock_mono_ms() > until_ms)
            fail_msg("not within %d s: \"%s\" in %s, which is %s", DEADLINE_MS / 1000, text, css,
                     browser_run(
                         b, arena_printf(b->h->arena, "return document.querySelector(%s)?.innerText", quoted(b, css))));
    }
}

void browser_picture(struct browser *b, const char *name)
{
    const char *path = arena_printf(b->h->arena, "%s/tests/%s.png", TEST_BUILD_DIR, name);
    const char *text = json_str(call(b, "GET", "/screenshot", NULL));
    size_t len = strlen(text), written = 0;
    uint8_t *bytes = mem_alloc(len);
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(crypto_unbase64(text, len, bytes, len, &written));
    assert_int_equal(fwrite(bytes, 1, written, f), written);
    assert_int_equal(fclose(f), 0);
    mem_free(bytes);
}

const char *browser_console(struct browser *b)
{
    const struct json *log = call(b, "POST", "/se/log", "{\"type\":\"browser\"}");
    struct buf out;
    const char *copy;

    buf_init(&out, TEXT_MAX_BYTES);
    for (const struct json *e = json_first(log); e != NULL; e = json_next(e))
        buf_printf(&out, "%s: %s\n", json_get_str(e, "level"), json_get_str(e, "message"));
    copy = arena_strdup(b->h->arena, buf_text(&out));
    buf_free(&out);
    return copy;
}

const char *browser_requests(struct browser *b)
{
    const struct json *log = call(b, "POST", "/se/log", "{\"type\":\"performance\"}");
    struct buf out;
    const char *copy;

    buf_init(&out, TEXT_MAX_BYTES);
    for (const struct json *e = json_first(log); e != NULL; e = json_next(e)) {
        const struct json *message = json_get(json_of(b->h, json_get_str(e, "message")), "message");

        if (strcmp(json_get_str(message, "method"), "Network.requestWillBeSent") == 0)
            buf_printf(&out, "%s\n", json_str(json_at(message, "params.request.url")));
    }
    copy = arena_strdup(b->h->arena, buf_text(&out));
    buf_free(&out);
    return copy;
}
