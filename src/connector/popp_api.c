#include "connector/popp_api.h"

#include "connector/request.h"
#include "domain/backoff.h"

enum { ANSWER_MAX_BYTES = 16 * 1024 * 1024 };

void popp_api_request(const struct source_config *s, const char *path, struct arena *arena, struct httpc_request *ret)
{
    const struct connector_config address = {.base_url = s->api.base_url};
    struct httpc_header *headers = arena_alloc(arena, 3 * sizeof *headers);
    size_t len = strlen(s->api.base_url);

    while (len > 0 && s->api.base_url[len - 1] == '/') {
        len--;
    }
    headers[0] = (struct httpc_header){"x-api-key", s->api.key};
    headers[1] = (struct httpc_header){"x-organization-id", config_api_organization(s)};
    headers[2] = (struct httpc_header){"Accept", "application/json"};
    *ret = (struct httpc_request){
        .method = "GET",
        .url = arena_printf(arena, "%.*s%s", (int)len, s->api.base_url, path),
        .headers = headers,
        .header_count = 3,
        .timeout_ms = (int)s->api.timeout_ms,
        .response_max_bytes = ANSWER_MAX_BYTES,
        .proxy = s->api.proxy,
        .allow_private_address = request_allows_private(&address),
    };
}

static enum popp_api_answer meaning_of_status(long status)
{
    switch (status) {
    case 200:
        return POPP_API_OK;
    case 401:
    case 403:
        return POPP_API_KEY;
    case 404:
    case 410:
        return POPP_API_NOT_FOUND;
    case 429:
        return POPP_API_THROTTLED;
    default:
        return status >= 500 ? POPP_API_UNAVAILABLE : POPP_API_ODD;
    }
}

enum popp_api_answer popp_api_meaning(const struct httpc_response *r, int64_t now_us, int64_t *ret_wait_ms,
                                      struct errmsg *ret_words)
{
    const char *after = httpc_header_value(r, "retry-after");

    *ret_wait_ms = 0;
    if (r->result == HTTPC_ANSWERED) {
        (void)err_set(ret_words, ST_OK, "HTTP %ld", r->status);
        if (after && !retry_after_ms(after, now_us, ret_wait_ms)) {
            *ret_wait_ms = 0;
        }
        return meaning_of_status(r->status);
    }
    (void)err_set(ret_words, ST_OK, "%s", r->error);
    return r->result == HTTPC_TOO_LARGE ? POPP_API_ODD : POPP_API_UNAVAILABLE;
}

const char *popp_api_answer_name(enum popp_api_answer a)
{
    static const char *const names[] = {"ok", "not_found", "key", "throttled", "unavailable", "odd"};

    return names[a];
}
