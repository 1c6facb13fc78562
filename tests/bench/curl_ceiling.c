/*
 * curl_ceiling - what one thread of libcurl's multi interface can send: the limit for any delivery that stands on it.
 *
 *   curl_ceiling PORT CONNECTIONS SECONDS
 *
 * Sends the same PATCH to the ATS of load (--sink PORT) as the daemon does for an event, over kept connections, one
 * after the other on each. Prints rate=<requests a second> errors=<other answers than 200> cpu_us=<of this process, per request>.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

enum { CONNECTIONS_MAX = 1000, SECONDS_MAX = 600, WAIT_MS = 1000, TIMEOUT_MS = 30000 };

static const char body[] =
    "{\"fields\":{\"dbs_number\":\"001 812 443 906\",\"has_licence\":\"Yes, full UK licence and my own car\","
    "\"nmc_pin_status\":\"Yes, my PIN is 18C2094E and it runs until March\"}}";

static struct {
    unsigned port;
    CURLM *multi;
    struct curl_slist *headers;
    int64_t done, errors, sent;
} ceiling;

static size_t ignore_answer(char *bytes, size_t size, size_t count, void *unused)
{
    (void)bytes;
    (void)unused;
    return size * count;
}

/* The next request of a handle: another candidate each time, as in real life. */
static void start(CURL *easy)
{
    char url[128];

    snprintf(url, sizeof url, "http://127.0.0.1:%u/candidates/ats_ceiling_%010lld", ceiling.port,
             (long long)ceiling.sent++);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_multi_add_handle(ceiling.multi, easy);
}

static CURL *handle(void)
{
    CURL *easy = curl_easy_init();

    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PATCH");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)sizeof body - 1);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, ceiling.headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore_answer);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    return easy;
}

/* Returns whether any request had ended; each is followed by the next. */
static bool take_ended(bool go_on)
{
    bool any = false;
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(ceiling.multi, &left)) != NULL) {
        CURL *easy = message->easy_handle;
        long status = 0;

        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        ceiling.done++;
        ceiling.errors += message->data.result != CURLE_OK || status != 200;
        curl_multi_remove_handle(ceiling.multi, easy);
        if (go_on) {
            start(easy);
        }
        any = true;
    }
    return any;
}

static double cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
    int64_t port, connections, seconds;
    int64_t began_us, took_us;
    CURL **easy;

    if (argc != 4 || !text_to_i64(argv[1], 1, UINT16_MAX, &port) ||
        !text_to_i64(argv[2], 1, CONNECTIONS_MAX, &connections) || !text_to_i64(argv[3], 1, SECONDS_MAX, &seconds)) {
        fputs("usage: curl_ceiling PORT CONNECTIONS SECONDS\n", stderr);
        return 2;
    }
    curl_global_init(CURL_GLOBAL_ALL);
    ceiling.port = (unsigned)port;
    ceiling.multi = curl_multi_init();
    curl_multi_setopt(ceiling.multi, CURLMOPT_MAXCONNECTS, (long)connections + 8);
    ceiling.headers = curl_slist_append(NULL, "Content-Type: application/json");
    ceiling.headers = curl_slist_append(ceiling.headers, "Authorization: Bearer 0123456789abcdef");
    ceiling.headers = curl_slist_append(ceiling.headers, "Idempotency-Key: 01234567-89ab-8def-8123-456789abcdef");
    ceiling.headers = curl_slist_append(ceiling.headers, "Expect:");
    easy = mem_array((size_t)connections, sizeof(CURL *));
    began_us = clock_mono_us();
    for (int64_t i = 0; i < connections; i++) {
        easy[i] = handle();
        start(easy[i]);
    }
    while ((took_us = clock_mono_us() - began_us) < seconds * 1000000) {
        int running;

        /* a transfer that ended within perform does not wake poll */
        curl_multi_perform(ceiling.multi, &running);
        if (!take_ended(true)) {
            curl_multi_poll(ceiling.multi, NULL, 0, WAIT_MS, NULL);
        }
    }
    printf("rate=%.0f errors=%lld cpu_us=%.1f\n", (double)ceiling.done * 1e6 / (double)took_us,
           (long long)ceiling.errors, ceiling.done > 0 ? cpu_us() / (double)ceiling.done : 0);
    for (int64_t i = 0; i < connections; i++) {
        curl_multi_remove_handle(ceiling.multi, easy[i]);
        curl_easy_cleanup(easy[i]);
    }
    curl_multi_cleanup(ceiling.multi);
    curl_slist_free_all(ceiling.headers);
    curl_global_cleanup();
    mem_free(easy);
    return 0;
}
