#include "config/sealing.h"

#include <stdint.h>

#include "base/mem.h"
#include "lib/crypto.h"

/* Part of every key that was ever made: another text would make other keys. */
static const char purpose[] = "connector_token v1";

struct key_bytes {
    uint8_t bytes[CRYPTO_KEY_BYTES];
};

struct sealing {
    bool protects;
    size_t count; /* of those configured; one more, which everybody can make, stands behind them */
    struct key_bytes *keys;
};

static void derive(const char *secret, struct key_bytes *ret)
{
    struct crypto_part part = {purpose, sizeof purpose - 1};
    struct crypto_hmac *h = crypto_hmac_new(secret, strlen(secret));

    crypto_hmac_sign(h, &part, 1, ret->bytes);
    crypto_hmac_free(h);
}

struct sealing *sealing_new(const struct config *c)
{
    struct sealing *s = mem_zalloc(sizeof *s);

    s->count = c->database.encryption_key_count;
    s->protects = s->count > 0;
    s->keys = mem_array(s->count + 1, sizeof *s->keys);
    for (size_t i = 0; i < s->count; i++) {
        derive(c->database.encryption_keys[i], &s->keys[i]);
    }
    derive("", &s->keys[s->count]);
    return s;
}

void sealing_free(struct sealing *s)
{
    if (s) {
        mem_wipe(s->keys, (s->count + 1) * sizeof *s->keys);
        mem_free(s->keys);
        mem_free(s);
    }
}

bool sealing_protects(const struct sealing *s)
{
    return s->protects;
}

char *sealing_seal(const struct sealing *s, const char *plain, const char *context)
{
    return crypto_seal(s->keys[0].bytes, plain, context);
}

int sealing_open(const struct sealing *s, const char *sealed, const char *context, char **ret_plain, bool *ret_old,
                 struct errmsg *err)
{
    int st = ST_INVALID;

    for (size_t i = 0; i <= s->count; i++) {
        st = crypto_open(s->keys[i].bytes, sealed, context, ret_plain, i == 0 ? err : NULL);
        if (st == ST_OK) {
            if (ret_old) {
                *ret_old = i > 0;
            }
            break;
        }
    }
    return st;
}
