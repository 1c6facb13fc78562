#include "base/suggest.h"

#include <limits.h>
#include <stdbool.h>

#include "base/text.h"

enum { WORD_MAX_BYTES = 64, PREFIX_MIN_BYTES = 3 };

static bool to_lower(const char *s, char ret[WORD_MAX_BYTES + 1])
{
    size_t len = strlen(s);

    if (len > WORD_MAX_BYTES)
        return false;
    for (size_t i = 0; i <= len; i++)
        ret[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] - 'A' + 'a') : s[i];
    return true;
}

static unsigned tolerated(size_t len)
{
    if (len <= 3)
        return 1;
    return len <= 6 ? 2 : 3;
}

const char *suggest(const char *word, const char *const *names, size_t count)
{
    char wanted[WORD_MAX_BYTES + 1], name[WORD_MAX_BYTES + 1];
    const char *best = NULL, *begins = NULL;
    unsigned best_distance = UINT_MAX;

    if (!to_lower(word, wanted))
        return NULL;
    size_t len = strlen(wanted);
    for (size_t i = 0; i < count; i++) {
        if (names[i] == NULL || !to_lower(names[i], name))
            continue;
        unsigned distance = text_distance(wanted, name);
        /* a distance as long as the word itself would call any short name near */
        if (distance <= tolerated(len) && distance < len && distance < best_distance) {
            best = names[i];
            best_distance = distance;
        }
        if (begins == NULL && len >= PREFIX_MIN_BYTES && text_starts(name, wanted))
            begins = names[i];
    }
    /* "max_conn" means max_connections, however few letters make it max_body */
    return best == NULL || (begins != NULL && best_distance > 1) ? begins : best;
}
