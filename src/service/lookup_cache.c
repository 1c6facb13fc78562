#include "service/lookup_cache.h"

#include "base/mem.h"
#include "base/text.h"

enum { BUCKETS = 256, ANSWERS_MAX = 2000 };
static const size_t BYTES_MAX = 32U * 1024 * 1024;

struct answer {
    uint64_t hash;
    char *method;
    char *url;
    char *body; /* of the request; NULL: none */
    int64_t until_ms;
    struct httpc_response response; /* its texts are ours */
    struct httpc_header *headers;
    size_t bytes;
    struct answer *next;          /* in the bucket */
    struct answer *newer, *older; /* in order of arrival */
};

struct lookup_cache {
    struct answer *buckets[BUCKETS];
    struct answer *newest, *oldest;
    size_t count;
    size_t bytes;
};

struct lookup_cache *lookup_cache_new(void)
{
    return mem_zalloc(sizeof(struct lookup_cache));
}

static uint64_t hash_of(const struct prepared_request *q)
{
    return text_hash64(q->url, strlen(q->url)) ^ text_hash64(q->method, strlen(q->method)) * 3 ^
           (q->body ? text_hash64(q->body, q->body_len) * 7 : 0);
}

static bool same(const struct answer *a, const struct prepared_request *q, uint64_t hash)
{
    return a->hash == hash && strcmp(a->method, q->method) == 0 && strcmp(a->url, q->url) == 0 &&
           text_eq(a->body, q->body);
}

static void answer_free(struct answer *a)
{
    for (size_t i = 0; i < a->response.header_count; i++) {
        char *name = (char *)(uintptr_t)a->headers[i].name; /* ours: made by mem_strdup below */
        char *value = (char *)(uintptr_t)a->headers[i].value;

        mem_free(name);
        mem_free(value);
    }
    mem_free(a->headers);
    mem_free((char *)(uintptr_t)a->response.body);
    mem_free(a->method);
    mem_free(a->url);
    mem_free(a->body);
    mem_free(a);
}

static void drop(struct lookup_cache *c, struct answer *a)
{
    struct answer **place = &c->buckets[a->hash % BUCKETS];

    while (*place != a) {
        place = &(*place)->next;
    }
    *place = a->next;
    *(a->newer ? &a->newer->older : &c->newest) = a->older;
    *(a->older ? &a->older->newer : &c->oldest) = a->newer;
    c->count--;
    c->bytes -= a->bytes;
    answer_free(a);
}

void lookup_cache_clear(struct lookup_cache *c)
{
    while (c->oldest) {
        drop(c, c->oldest);
    }
}

void lookup_cache_free(struct lookup_cache *c)
{
    if (c) {
        lookup_cache_clear(c);
        mem_free(c);
    }
}

static struct answer *find(struct lookup_cache *c, const struct prepared_request *q, uint64_t hash)
{
    struct answer *a = c->buckets[hash % BUCKETS];

    while (a && !same(a, q, hash)) {
        a = a->next;
    }
    return a;
}

const struct httpc_response *lookup_cache_get(struct lookup_cache *c, const struct prepared_request *q, int64_t now_ms)
{
    struct answer *a = q->cache_ms > 0 ? find(c, q, hash_of(q)) : NULL;

    if (a && a->until_ms <= now_ms) {
        drop(c, a);
        a = NULL;
    }
    return a ? &a->response : NULL;
}

static void copy_response(struct answer *a, const struct httpc_response *response)
{
    char *body = mem_alloc(response->body_len + 1);

    memcpy(body, response->body, response->body_len);
    body[response->body_len] = '\0';
    a->headers = mem_array(response->header_count + 1, sizeof *a->headers);
    for (size_t i = 0; i < response->header_count; i++) {
        a->headers[i].name = mem_strdup(response->headers[i].name);
        a->headers[i].value = mem_strdup(response->headers[i].value);
    }
    a->response = *response;
    a->response.headers = a->headers;
    a->response.body = body;
    a->response.error = "";
    a->bytes = sizeof *a + response->body_len + strlen(a->url) + 64 * response->header_count;
}

void lookup_cache_put(struct lookup_cache *c, const struct prepared_request *q, const struct httpc_response *response,
                      int64_t now_ms)
{
    uint64_t hash;
    struct answer *a;

    if (q->cache_ms <= 0 || response->result != HTTPC_ANSWERED || response->status / 100 != 2 ||
        response->body_len > BYTES_MAX / 8) {
        return;
    }
    hash = hash_of(q);
    a = find(c, q, hash);
    if (a) {
        drop(c, a);
    }
    a = mem_zalloc(sizeof *a);
    a->hash = hash;
    a->method = mem_strdup(q->method);
    a->url = mem_strdup(q->url);
    a->body = q->body ? mem_strndup(q->body, q->body_len) : NULL;
    a->until_ms = now_ms + q->cache_ms;
    copy_response(a, response);
    a->next = c->buckets[hash % BUCKETS];
    c->buckets[hash % BUCKETS] = a;
    a->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = a;
    c->newest = a;
    c->count++;
    c->bytes += a->bytes;
    while (c->count > ANSWERS_MAX || c->bytes > BYTES_MAX) {
        drop(c, c->oldest);
    }
}
