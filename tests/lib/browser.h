/*
 * browser - a real one: Chromium without a window, driven through chromedriver (W3C WebDriver). For what only a browser
 * can tell of the status page: that its script runs under its own policy, that it can be used with the keyboard, what
 * it asks of the network.
 *
 * One browser a test, which ends with the test. Functions fail the running test by themselves. CSS selectors name
 * elements; the first that fits is meant. One thread only.
 */
#ifndef ATSYNC_TESTS_BROWSER_H
#define ATSYNC_TESTS_BROWSER_H

#include "lib/harness.h"

struct browser;

bool browser_exists(void); /* chromium and chromedriver are installed */
struct browser *browser_start(struct harness *h);
void browser_size(struct browser *b, unsigned width, unsigned height, bool phone);
void browser_colours(struct browser *b, const char *scheme); /* what the reader's system prefers: "light", "dark" */

void browser_open(struct browser *b, const char *url);
void browser_click(struct browser *b, const char *css);
void browser_type(struct browser *b, const char *css, const char *text);
void browser_keys(struct browser *b, const char *keys); /* to what has the focus; BROWSER_TAB and the like among them */
#define BROWSER_TAB "\xee\x80\x84"
#define BROWSER_ENTER "\xee\x80\x87"
#define BROWSER_LEFT "\xee\x80\x92"
#define BROWSER_HOME "\xee\x80\x91"

/* What a function body returns, as JSON text; it must end within DEADLINE_MS. */
const char *browser_run(struct browser *b, const char *script);
bool browser_has(struct browser *b, const char *css, const char *text); /* shown, and its text holds this */
void wait_browser(struct browser *b, const char *css, const char *text);
void wait_script(struct browser *b, const char *script, const char *expected_json);

/* Saved as NAME.png beside the test programs, for people to look at. */
void browser_picture(struct browser *b, const char *name);

/* What the console has said since the last call, one message a line; "" if nothing. */
const char *browser_console(struct browser *b);
/* The addresses that have been asked for since the last call, one a line. */
const char *browser_requests(struct browser *b);

#endif
