#include <inttypes.h>

#include "base/clock.h"
#include "base/mem.h"
#include "connector/popp_api.h"
#include "ctl/check.h"

enum { WAIT_MS = 1000 };

struct asking {
    bool done;
    enum popp_api_answer answer;
    struct errmsg words;
    int64_t spent_us;
};

static void answered(void *ctx, const struct httpc_response *response)
{
    struct asking *a = ctx;
    int64_t wait_ms;

    a->done = true;
    a->answer = popp_api_meaning(response, clock_wall_us(), &wait_ms, &a->words);
    a->spent_us = response->duration_us;
}

static char *hint_of(enum popp_api_answer answer, const char *source)
{
    switch (answer) {
    case POPP_API_KEY:
        return mem_printf(
            "has the key of sources.%s.api expired, or was it revoked, and is organization the one that it "
            "belongs to? Popp's developer portal shows both",
            source);
    case POPP_API_ODD:
        return mem_printf("are base_url and probe_path of sources.%s.api right? See popp-api.md", source);
    case POPP_API_THROTTLED:
        return mem_printf("the API wants us to wait: try again later");
    case POPP_API_UNAVAILABLE:
        return mem_printf(
            "is base_url of sources.%s.api right, and do name service, firewall and proxy let this machine "
            "through? If so, try again later",
            source);
    case POPP_API_OK:
    case POPP_API_NOT_FOUND:
        break;
    }
    return NULL;
}

struct finding check_api(struct httpc *http, const struct source_config *source)
{
    struct arena *arena = arena_new();
    struct asking a = {.done = false};
    struct httpc_request request;
    struct finding f;

    popp_api_request(source, source->api.probe_path, arena, &request);
    httpc_start(http, &request, answered, &a);
    while (!a.done) {
        (void)httpc_poll(http, WAIT_MS);
    }
    f.ok = a.answer == POPP_API_OK || a.answer == POPP_API_NOT_FOUND;
    if (f.ok) {
        f.message = mem_printf("%s accepts the key (%" PRId64 " ms)", source->api.base_url, a.spent_us / 1000);
        f.hint = NULL;
    } else {
        f.message = mem_printf("%s: %s (%s)", source->api.base_url,
                               a.answer == POPP_API_KEY ? "the key is not accepted" : "no proper answer", a.words.text);
        f.hint = hint_of(a.answer, source->name);
    }
    arena_free(arena);
    return f;
}
