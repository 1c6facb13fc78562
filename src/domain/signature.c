#include "domain/signature.h"

#include <stdbool.h>

#include "base/mem.h"
#include "base/text.h"
#include "lib/crypto.h"

enum {
    MAC_HEX_CHARS = 2 * CRYPTO_SHA256_BYTES,
    MAC_BASE64_CHARS = 44,
    STANDARD_KEY_MIN_BYTES = 24, /* standardwebhooks.com: a symmetric secret has 24 to 64 bytes */
    STANDARD_KEY_MAX_BYTES = 64,
};

static const int64_t timestamp_max_s = 253402300799; /* 9999-12-31T23:59:59Z: differences cannot overflow */

static const char standard_id[] = "webhook-id";
static const char standard_timestamp[] = "webhook-timestamp";
static const char standard_signature[] = "webhook-signature";

struct mac {
    uint8_t bytes[CRYPTO_SHA256_BYTES];
};

struct signature_verifier {
    enum signature_scheme scheme;
    enum signature_encoding encoding;
    char *header;
    char *prefix;
    int64_t tolerance_ms;
    struct crypto_hmac **keys;
    struct mac *macs; /* scratch: what each secret makes of the message at hand */
    size_t key_count;
};

/* A piece of a header's value; not NUL-terminated. */
struct slice {
    const char *s;
    size_t len;
};

/* Fills *ret_key, which the caller frees, with what a standard-webhooks secret stands for. */
static int standard_key_new(const char *secret, size_t number, struct crypto_hmac **ret_key, struct errmsg *err)
{
    static const char mark[] = "whsec_";
    bool marked = text_starts(secret, mark);
    const char *text = marked ? secret + sizeof mark - 1 : secret;
    size_t text_len = strlen(text);
    uint8_t *bytes = mem_alloc(text_len);
    size_t len = 0;
    bool decoded = crypto_unbase64(text, text_len, bytes, text_len, &len) && len > 0;
    int st = ST_OK;

    if (marked && !decoded)
        st = err_set(err, ST_INVALID,
                     "signing secret %zu begins with whsec_, but the rest is not base64; copy it again from the sender",
                     number);
    else if (decoded && (marked || (len >= STANDARD_KEY_MIN_BYTES && len <= STANDARD_KEY_MAX_BYTES)))
        *ret_key = crypto_hmac_new(bytes, len);
    else
        *ret_key = crypto_hmac_new(text, text_len);
    mem_wipe(bytes, text_len);
    mem_free(bytes);
    return st;
}

static int key_new(enum signature_scheme scheme, const char *secret, size_t number, struct crypto_hmac **ret_key,
                   struct errmsg *err)
{
    if (*secret == '\0') /* everybody could sign with it */
        return err_set(err, ST_INVALID, "signing secret %zu is empty", number);
    if (scheme == SIGNATURE_STANDARD_WEBHOOKS)
        return standard_key_new(secret, number, ret_key, err);
    *ret_key = crypto_hmac_new(secret, strlen(secret));
    return ST_OK;
}

int signature_verifier_new(const struct signature_config *config, struct signature_verifier **ret, struct errmsg *err)
{
    struct signature_verifier *v;

    if (config->secret_count == 0)
        return err_set(err, ST_INVALID, "there is no signing secret; configure at least one");
    if (config->scheme != SIGNATURE_STANDARD_WEBHOOKS && (config->header == NULL || *config->header == '\0'))
        return err_set(err, ST_INVALID, "the signature has no header; configure the name of the header that holds it");

    v = mem_zalloc(sizeof *v);
    v->scheme = config->scheme;
    v->encoding = config->encoding;
    v->header = mem_strdup(config->scheme == SIGNATURE_STANDARD_WEBHOOKS ? standard_signature : config->header);
    v->prefix = mem_strdup(config->prefix != NULL ? config->prefix : "");
    v->tolerance_ms = config->tolerance_ms;
    v->keys = mem_array(config->secret_count, sizeof *v->keys);
    v->macs = mem_array(config->secret_count, sizeof *v->macs);
    for (size_t i = 0; i < config->secret_count; i++) {
        int st = key_new(config->scheme, config->secrets[i], i + 1, &v->keys[i], err);

        if (st != ST_OK) {
            signature_verifier_free(v);
            return st;
        }
        v->key_count++;
    }
    *ret = v;
    return ST_OK;
}

void signature_verifier_free(struct signature_verifier *v)
{
    if (v == NULL)
        return;
    for (size_t i = 0; i < v->key_count; i++)
        crypto_hmac_free(v->keys[i]);
    mem_free(v->keys);
    mem_free(v->macs);
    mem_free(v->header);
    mem_free(v->prefix);
    mem_free(v);
}

static struct slice slice_trim(struct slice x)
{
    while (x.len > 0 && (x.s[0] == ' ' || x.s[0] == '\t')) {
        x.s++;
        x.len--;
    }
    while (x.len > 0 && (x.s[x.len - 1] == ' ' || x.s[x.len - 1] == '\t'))
        x.len--;
    return x;
}

static bool slice_starts(struct slice x, const char *prefix)
{
    size_t len = strlen(prefix);

    return x.len >= len && memcmp(x.s, prefix, len) == 0;
}

static struct slice slice_skip(struct slice x, size_t n)
{
    return (struct slice){x.s + n, x.len - n};
}

/* Takes the part before the next separator off the front of *rest; false when nothing is left. */
static bool slice_next(struct slice *rest, char separator, struct slice *ret)
{
    const char *end;

    if (rest->s == NULL)
        return false;
    end = rest->len > 0 ? memchr(rest->s, separator, rest->len) : NULL;
    if (end == NULL) {
        *ret = *rest;
        *rest = (struct slice){NULL, 0};
        return true;
    }
    *ret = (struct slice){rest->s, (size_t)(end - rest->s)};
    *rest = slice_skip(*rest, ret->len + 1);
    return true;
}

static int header_once(signature_header_fn header, void *request, const char *name, struct slice *ret,
                       struct errmsg *err)
{
    unsigned count = 0;
    const char *value = header(request, name, &count);

    if (value == NULL || count == 0)
        return err_set(err, ST_DENIED, "header %s is missing", name);
    if (count > 1)
        return err_set(err, ST_DENIED, "header %s came %u times", name, count);
    *ret = slice_trim((struct slice){value, strlen(value)});
    return ST_OK;
}

static bool mac_from_hex(struct slice x, struct mac *ret)
{
    size_t len;

    return x.len == MAC_HEX_CHARS && crypto_unhex(x.s, x.len, ret->bytes, sizeof ret->bytes, &len);
}

static bool mac_from_base64(struct slice x, struct mac *ret)
{
    size_t len;

    return x.len == MAC_BASE64_CHARS && crypto_unbase64(x.s, x.len, ret->bytes, sizeof ret->bytes, &len) &&
           len == sizeof ret->bytes;
}

static void compute_macs(struct signature_verifier *v, const struct crypto_part *parts, size_t count)
{
    for (size_t i = 0; i < v->key_count; i++)
        crypto_hmac_sign(v->keys[i], parts, count, v->macs[i].bytes);
}

/* Goes through all secrets whether or not one matched, so that the time does not tell which. */
static bool mac_matches(const struct signature_verifier *v, const struct mac *claimed)
{
    unsigned matches = 0;

    for (size_t i = 0; i < v->key_count; i++)
        matches += crypto_equal(v->macs[i].bytes, claimed->bytes, sizeof claimed->bytes) ? 1 : 0;
    return matches > 0;
}

static int no_match(const struct signature_verifier *v, struct errmsg *err)
{
    if (v->key_count == 1)
        return err_set(err, ST_DENIED, "header %s does not match the signing secret", v->header);
    return err_set(err, ST_DENIED, "header %s does not match any of %zu secrets", v->header, v->key_count);
}

static int verify_body(struct signature_verifier *v, signature_header_fn header, void *request,
                       const struct crypto_part *body, struct errmsg *err)
{
    const char *prefix = v->prefix;
    struct slice value;
    struct mac claimed;
    int st = header_once(header, request, v->header, &value, err);

    if (st != ST_OK)
        return st;
    if (*prefix != '\0' && !slice_starts(value, prefix))
        return err_set(err, ST_DENIED, "header %s does not begin with the configured prefix", v->header);
    if (*prefix == '\0' && v->encoding == SIGNATURE_HEX && slice_starts(value, "sha256="))
        prefix = "sha256="; /* so common that its absence in the configuration must not cost events */
    value = slice_skip(value, strlen(prefix));
    if (v->encoding == SIGNATURE_HEX && !mac_from_hex(value, &claimed))
        return err_set(err, ST_DENIED, "header %s is not 64 hex digits", v->header);
    if (v->encoding == SIGNATURE_BASE64 && !mac_from_base64(value, &claimed))
        return err_set(err, ST_DENIED, "header %s is not base64 of 32 bytes", v->header);
    compute_macs(v, body, 1);
    return mac_matches(v, &claimed) ? ST_OK : no_match(v, err);
}

static int read_timestamp(const char *header, struct slice text, int64_t *ret_s, struct errmsg *err)
{
    char digits[20];

    if (text.len >= sizeof digits)
        text.len = 0; /* longer than any time: as wrong as an empty one */
    memcpy(digits, text.s, text.len);
    digits[text.len] = '\0';
    if (!text_to_i64(digits, 0, timestamp_max_s, ret_s))
        return err_set(err, ST_DENIED, "header %s has no timestamp in seconds", header);
    return ST_OK;
}

/* Asked only when the signature is right: then the time is the sender's own, and its clock or ours is wrong (or somebody
 * repeats an old request). Of anybody else's time nothing can be learned. */
static int check_age(const struct signature_verifier *v, int64_t timestamp_s, int64_t now_us, int64_t *ret_ahead_ms,
                     struct errmsg *err)
{
    int64_t age_ms = now_us / 1000 - timestamp_s * 1000;
    int64_t distance_ms = age_ms < 0 ? -age_ms : age_ms;

    if (distance_ms <= v->tolerance_ms)
        return ST_OK;
    *ret_ahead_ms = -age_ms;
    return err_set(err, ST_DENIED, "timestamp is %s s %s, tolerance is %.15g s%s",
                   num_text((distance_ms + 999) / 1000).s, age_ms < 0 ? "in the future" : "old",
                   (double)v->tolerance_ms / 1000, age_ms < 0 ? "; compare the clocks" : "");
}

static int verify_standard(struct signature_verifier *v, signature_header_fn header, void *request,
                           const struct crypto_part *body, int64_t now_us, int64_t *ret_ahead_ms, struct errmsg *err)
{
    struct slice id;
    struct slice timestamp;
    int64_t timestamp_s;
    struct slice rest;
    struct slice item;
    unsigned usable = 0;
    bool matched = false;
    int st;

    if ((st = header_once(header, request, standard_id, &id, err)) != ST_OK ||
        (st = header_once(header, request, standard_timestamp, &timestamp, err)) != ST_OK ||
        (st = header_once(header, request, standard_signature, &rest, err)) != ST_OK)
        return st;
    if (id.len == 0)
        return err_set(err, ST_DENIED, "header %s is empty", standard_id);
    st = read_timestamp(standard_timestamp, timestamp, &timestamp_s, err);
    if (st != ST_OK)
        return st;
    compute_macs(v,
                 (const struct crypto_part[]){
                     {id.s, id.len}, {".", 1}, {timestamp.s, timestamp.len}, {".", 1}, {body->data, body->len}},
                 5);
    while (slice_next(&rest, ' ', &item)) {
        struct mac claimed;

        if (item.len == 0)
            continue;
        if (memchr(item.s, ',', item.len) == NULL)
            return err_set(err, ST_DENIED, "header %s is not a list of version,signature", standard_signature);
        if (!slice_starts(item, "v1,"))
            continue; /* another version, v1a for example, is for others */
        if (!mac_from_base64(slice_skip(item, 3), &claimed))
            return err_set(err, ST_DENIED, "header %s has a v1 that is not base64 of 32 bytes", standard_signature);
        usable++;
        matched |= mac_matches(v, &claimed);
    }
    if (usable == 0)
        return err_set(err, ST_DENIED, "header %s has no v1", standard_signature);
    return matched ? check_age(v, timestamp_s, now_us, ret_ahead_ms, err) : no_match(v, err);
}

/* Goes twice through the header: t may stand behind the first v1. */
static int verify_timestamped(struct signature_verifier *v, signature_header_fn header, void *request,
                              const struct crypto_part *body, int64_t now_us, int64_t *ret_ahead_ms, struct errmsg *err)
{
    struct slice timestamp = {NULL, 0};
    int64_t timestamp_s;
    struct slice value;
    struct slice rest;
    struct slice item;
    unsigned usable = 0;
    bool matched = false;
    int st = header_once(header, request, v->header, &value, err);

    if (st != ST_OK)
        return st;
    for (rest = value; slice_next(&rest, ',', &item);) {
        item = slice_trim(item);
        if (item.len == 0 || memchr(item.s, '=', item.len) == NULL)
            return err_set(err, ST_DENIED, "header %s is not a list of t=... and v1=...", v->header);
        if (!slice_starts(item, "t="))
            continue;
        if (timestamp.s != NULL)
            return err_set(err, ST_DENIED, "header %s has more than one t", v->header);
        timestamp = slice_skip(item, 2);
    }
    if (timestamp.s == NULL)
        return err_set(err, ST_DENIED, "header %s has no t", v->header);
    st = read_timestamp(v->header, timestamp, &timestamp_s, err);
    if (st != ST_OK)
        return st;
    compute_macs(v, (const struct crypto_part[]){{timestamp.s, timestamp.len}, {".", 1}, {body->data, body->len}}, 3);
    for (rest = value; slice_next(&rest, ',', &item);) {
        struct mac claimed;

        item = slice_trim(item);
        if (!slice_starts(item, "v1="))
            continue; /* t, or another version */
        if (!mac_from_hex(slice_skip(item, 3), &claimed))
            return err_set(err, ST_DENIED, "header %s has a v1 that is not 64 hex digits", v->header);
        usable++;
        matched |= mac_matches(v, &claimed);
    }
    if (usable == 0)
        return err_set(err, ST_DENIED, "header %s has no v1", v->header);
    return matched ? check_age(v, timestamp_s, now_us, ret_ahead_ms, err) : no_match(v, err);
}

int signature_verify(struct signature_verifier *v, signature_header_fn header, void *request, const void *body,
                     size_t len, int64_t now_us, int64_t *ret_ahead_ms, struct errmsg *err)
{
    const struct crypto_part part = {body, len};

    *ret_ahead_ms = 0;
    switch (v->scheme) {
    case SIGNATURE_BODY:
        return verify_body(v, header, request, &part, err);
    case SIGNATURE_STANDARD_WEBHOOKS:
        return verify_standard(v, header, request, &part, now_us, ret_ahead_ms, err);
    case SIGNATURE_TIMESTAMPED:
        return verify_timestamped(v, header, request, &part, now_us, ret_ahead_ms, err);
    }
    return err_set(err, ST_INTERNAL, "signature scheme %d does not exist", (int)v->scheme);
}

static void headers_add(struct signature_headers *h, const char *name, char *value)
{
    h->header[h->count].name = mem_strdup(name);
    h->header[h->count].value = value;
    h->count++;
}

void signature_sign(struct signature_verifier *v, const char *event_id, const void *body, size_t len, int64_t now_us,
                    struct signature_headers *ret)
{
    struct num_text now = num_text(now_us / 1000000);
    const struct crypto_part whole[] = {
        {event_id, event_id != NULL ? strlen(event_id) : 0}, {".", 1}, {now.s, strlen(now.s)}, {".", 1}, {body, len}};
    size_t first = v->scheme == SIGNATURE_STANDARD_WEBHOOKS ? 0 : v->scheme == SIGNATURE_TIMESTAMPED ? 2 : 4;
    struct mac mac;
    char hex[MAC_HEX_CHARS + 1];
    char base64[MAC_BASE64_CHARS + 1];

    crypto_hmac_sign(v->keys[0], whole + first, ATS_COUNT(whole) - first, mac.bytes);
    crypto_hex(mac.bytes, sizeof mac.bytes, hex);
    crypto_base64(mac.bytes, sizeof mac.bytes, base64);
    *ret = (struct signature_headers){0};
    switch (v->scheme) {
    case SIGNATURE_BODY:
        headers_add(ret, v->header, mem_printf("%s%s", v->prefix, v->encoding == SIGNATURE_HEX ? hex : base64));
        break;
    case SIGNATURE_STANDARD_WEBHOOKS:
        headers_add(ret, standard_id, mem_strdup(event_id != NULL ? event_id : ""));
        headers_add(ret, standard_timestamp, mem_strdup(now.s));
        headers_add(ret, standard_signature, mem_printf("v1,%s", base64));
        break;
    case SIGNATURE_TIMESTAMPED:
        headers_add(ret, v->header, mem_printf("t=%s,v1=%s", now.s, hex));
        break;
    }
}

void signature_headers_free(struct signature_headers *h)
{
    for (size_t i = 0; i < h->count; i++) {
        mem_free(h->header[i].name);
        mem_free(h->header[i].value);
    }
    *h = (struct signature_headers){0};
}
