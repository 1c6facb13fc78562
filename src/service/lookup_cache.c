#include "service/lookup_cache.h"

#include "base/mem.h"
#include "base/text.h"

enum { BUCKETS = 256, ANSWERS_MAX = 2000 };
static const size_t BYTES_MAX = (size_t)32 * 1024 * 1024;

/* Its texts, of the request and of the answer, stand one behind the other in one piece of memory. */
struct answer {
    uint64_t hash;
    char *texts;
    const char *method;
    const char *url;
    const char *body; /* of the request; NULL: none */
    int64_t until_ms;
    struct httpc_response response;
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
    mem_free(a->headers);
    mem_free(a->texts);
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

static size_t texts_bytes(const struct prepared_request *q, const struct httpc_response *response)
{
    size_t bytes =
        strlen(q->method) + 1 + strlen(q->url) + 1 + (q->body ? q->body_len + 1 : 0) + response->body_len + 1;

    for (size_t i = 0; i < response->header_count; i++) {
        bytes += strlen(response->headers[i].name) + 1 + strlen(response->headers[i].value) + 1;
    }
    return bytes;
}

/* Returns the copy; *at moves behind it. */
static const char *put_text(char **at, const char *text, size_t len)
{
    char *copy = *at;

    if (len > 0) {
        memcpy(copy, text, len);
    }
    copy[len] = '\0';
    *at += len + 1;
    return copy;
}

static struct answer *answer_new(const struct prepared_request *q, const struct httpc_response *response)
{
    struct answer *a = mem_zalloc(sizeof *a);
    size_t bytes = texts_bytes(q, response);
    char *at = mem_alloc(bytes);

    a->texts = at;
    a->method = put_text(&at, q->method, strlen(q->method));
    a->url = put_text(&at, q->url, strlen(q->url));
    a->body = q->body ? put_text(&at, q->body, q->body_len) : NULL;
    a->headers = mem_array(response->header_count + 1, sizeof *a->headers);
    for (size_t i = 0; i < response->header_count; i++) {
        const struct httpc_header *h = &response->headers[i];

        a->headers[i].name = put_text(&at, h->name, strlen(h->name));
        a->headers[i].value = put_text(&at, h->value, strlen(h->value));
    }
    a->response = *response;
    a->response.headers = a->headers;
    a->response.body = put_text(&at, response->body, response->body_len);
    a->response.error = "";
    a->bytes = sizeof *a + bytes + (response->header_count + 1) * sizeof *a->headers;
    return a;
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
    a = answer_new(q, response);
    a->hash = hash;
    a->until_ms = now_ms + q->cache_ms;
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
