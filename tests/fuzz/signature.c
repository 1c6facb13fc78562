/*
 * Headers of a stranger: nothing is accepted without the right MAC. Input: a digit for the scheme, header lines
 * "name: value", an empty line, the body. "@" in a value stands for the MAC, so that requests that are nearly right are met.
 */
#include "fuzz.h"

#include <ctype.h>

#include "base/text.h"
#include "domain/signature.h"
#include "lib/crypto.h"

#define NOW_S INT64_C(1770000000)
enum { HEADERS_MAX = 8, SCHEMES = 5, TOLERANCE_S = 300 };

static const char *const secrets[] = {"first-secret-of-popp", "second-secret-of-popp"};
static const struct signature_config configs[SCHEMES] = {
    {.scheme = SIGNATURE_BODY, .header = "x-signature", .encoding = SIGNATURE_HEX, .prefix = ""},
    {.scheme = SIGNATURE_BODY, .header = "x-signature", .encoding = SIGNATURE_BASE64, .prefix = "sig="},
    {.scheme = SIGNATURE_BODY, .header = "x-signature", .encoding = SIGNATURE_HEX, .prefix = "sha256="},
    {.scheme = SIGNATURE_STANDARD_WEBHOOKS},
    {.scheme = SIGNATURE_TIMESTAMPED, .header = "x-signature"},
};

struct sent {
    size_t count;
    struct {
        const char *name;
        const char *value;
    } items[HEADERS_MAX];
};

static const char *find(void *request, const char *name, unsigned *ret_count)
{
    const struct sent *h = request;
    const char *value = NULL;

    *ret_count = 0;
    for (size_t i = 0; i < h->count; i++) {
        if (text_ieq(h->items[i].name, name)) {
            value = value != NULL ? value : h->items[i].value;
            ++*ret_count;
        }
    }
    return value;
}

static const char *trimmed(const char *s, struct arena *arena)
{
    size_t len;

    s += strspn(s, " \t");
    len = strlen(s);
    while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    return arena_strndup(arena, s, len);
}

/* What stands behind "t=" in the list; "" if nothing does. */
static const char *listed_time(const char *list, struct arena *arena)
{
    while (*list != '\0') {
        const char *item = trimmed(arena_strndup(arena, list, strcspn(list, ",")), arena);

        if (text_starts(item, "t="))
            return item + 2;
        list += strcspn(list, ",");
        list += *list == ',';
    }
    return "";
}

/* What is in front of the body in the message that is signed: written anew here, as the specifications say. */
static const char *front_of(size_t scheme, struct sent *h, struct arena *arena)
{
    unsigned n;
    const char *id = find(h, "webhook-id", &n), *time = find(h, "webhook-timestamp", &n);
    const char *list = find(h, "x-signature", &n);

    switch (configs[scheme].scheme) {
    case SIGNATURE_BODY:
        return "";
    case SIGNATURE_STANDARD_WEBHOOKS:
        return arena_printf(arena, "%s.%s.", trimmed(id != NULL ? id : "", arena),
                            trimmed(time != NULL ? time : "", arena));
    case SIGNATURE_TIMESTAMPED:
        return arena_printf(arena, "%s.", listed_time(list != NULL ? list : "", arena));
    }
    return "";
}

static const char *mac_text(size_t secret, const char *front, struct fuzz_input body, bool hex, struct arena *arena)
{
    struct crypto_hmac *hmac = crypto_hmac_new(secrets[secret], strlen(secrets[secret]));
    uint8_t mac[CRYPTO_SHA256_BYTES];
    char text[2 * CRYPTO_SHA256_BYTES + 1];

    crypto_hmac_sign(hmac, (const struct crypto_part[]){{front, strlen(front)}, {body.at, body.left}}, 2, mac);
    crypto_hmac_free(hmac);
    if (hex)
        crypto_hex(mac, sizeof mac, text);
    else
        crypto_base64(mac, sizeof mac, text);
    return arena_strdup(arena, text);
}

static bool is_hex(size_t scheme)
{
    return scheme != 1 && scheme != 3;
}

static void read_headers(struct fuzz_input *in, struct sent *h, struct arena *arena)
{
    while (in->left > 0 && h->count < HEADERS_MAX) {
        char *line = fuzz_line(in, arena);
        char *colon = strchr(line, ':');

        if (*line == '\0')
            return;
        if (colon != NULL) {
            *colon = '\0';
            h->items[h->count].name = line;
            h->items[h->count++].value = colon + 1 + (colon[1] == ' ');
        }
    }
}

static void put_macs_in(struct sent *h, size_t scheme, struct fuzz_input body, struct arena *arena)
{
    for (size_t i = 0; i < h->count; i++) {
        const char *mark = strchr(h->items[i].value, '@');

        if (mark != NULL)
            h->items[i].value =
                arena_printf(arena, "%.*s%s%s", (int)(mark - h->items[i].value), h->items[i].value,
                             mac_text(i % 2, front_of(scheme, h, arena), body, is_hex(scheme), arena), mark + 1);
    }
}

static bool holds_a_mac(struct sent *h, size_t scheme, struct fuzz_input body, struct arena *arena)
{
    const char *front = front_of(scheme, h, arena);
    unsigned n;
    const char *value =
        find(h, configs[scheme].scheme == SIGNATURE_STANDARD_WEBHOOKS ? "webhook-signature" : "x-signature", &n);

    for (size_t i = 0; value != NULL && n == 1 && i < ATS_COUNT(secrets); i++) {
        const char *mac = mac_text(i, front, body, is_hex(scheme), arena);

        if (is_hex(scheme) ? strcasestr(value, mac) != NULL : strstr(value, mac) != NULL)
            return true;
    }
    return false;
}

static void check_words(const char *words)
{
    PROMISE(*words != '\0', "refused without a reason");
    for (; *words != '\0'; words++)
        PROMISE(isprint((unsigned char)*words), "the reason quotes the request");
}

/* What the sender's side makes is accepted, and nothing that differs from it. */
static void check_signed(struct signature_verifier *v, struct fuzz_input body, struct arena *arena)
{
    struct signature_headers made;
    struct sent h = {0}, less = {0}, twice;
    struct errmsg err = {""};
    int64_t ahead_ms;
    char *bytes = arena_alloc(arena, body.left + 1);

    if (body.left > 0)
        memcpy(bytes, body.at, body.left);
    signature_sign(v, "msg_1", bytes, body.left, NOW_S * 1000000, &made);
    for (size_t i = 0; i < made.count; i++) {
        h.items[h.count].name = made.header[i].name;
        h.items[h.count++].value = made.header[i].value;
    }
    PROMISE(signature_verify(v, find, &h, bytes, body.left, NOW_S * 1000000, &ahead_ms, &err) == ST_OK,
            "our own signature is refused: %s", err.text);
    bytes[body.left] = 'x';
    PROMISE(signature_verify(v, find, &h, bytes, body.left + 1, NOW_S * 1000000, &ahead_ms, NULL) == ST_DENIED,
            "a longer body is accepted");
    if (body.left > 0) {
        bytes[body.left / 2] ^= 1;
        PROMISE(signature_verify(v, find, &h, bytes, body.left, NOW_S * 1000000, &ahead_ms, NULL) == ST_DENIED,
                "another body is accepted");
        bytes[body.left / 2] ^= 1;
    }
    PROMISE(signature_verify(v, find, &less, bytes, body.left, NOW_S * 1000000, &ahead_ms, NULL) == ST_DENIED,
            "no header is accepted");
    for (size_t i = 0; i < h.count; i++) {
        twice = h;
        twice.items[twice.count++] = h.items[i];
        PROMISE(signature_verify(v, find, &twice, bytes, body.left, NOW_S * 1000000, &ahead_ms, NULL) == ST_DENIED,
                "a header that came twice is accepted");
    }
    signature_headers_free(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct signature_verifier *verifiers[SCHEMES];
    struct fuzz_input in = {(const char *)data, size};
    struct arena *arena = arena_new();
    size_t scheme = (size_t)(unsigned char)fuzz_line(&in, arena)[0] % SCHEMES;
    struct signature_config config = configs[scheme];
    struct errmsg err = {""};
    struct sent h = {0};
    int64_t ahead_ms;
    int st;

    config.secrets = secrets;
    config.secret_count = ATS_COUNT(secrets);
    config.tolerance_ms = TOLERANCE_S * 1000;
    if (verifiers[scheme] == NULL)
        PROMISE(signature_verifier_new(&config, &verifiers[scheme], &err) == ST_OK, "%s", err.text);
    read_headers(&in, &h, arena);
    put_macs_in(&h, scheme, in, arena);
    st = signature_verify(verifiers[scheme], find, &h, in.at, in.left, NOW_S * 1000000, &ahead_ms, &err);
    PROMISE(st == ST_OK || st == ST_DENIED, "status %s", status_name(st));
    if (st == ST_OK || ahead_ms != 0)
        PROMISE(holds_a_mac(&h, scheme, in, arena), "accepted without the right MAC");
    if (st == ST_OK)
        PROMISE(ahead_ms == 0, "accepted, and the time is wrong");
    else
        check_words(err.text);
    check_signed(verifiers[scheme], in, arena);
    arena_free(arena);
    return 0;
}
