#include "base/admission.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/mem.h"

enum { ADDRESS_SLOTS = 1024 }; /* of the hash table */

struct admission_address {
    struct admission_address *next; /* in its slot */
    struct admission_key key;
    unsigned connections;
    unsigned unproven;
    uint64_t body_bytes; /* that unproven connections have sent of requests that are not complete */
};

struct admission {
    struct admission_address *addresses[ADDRESS_SLOTS];
    uint64_t seed;
    struct admission_body *arriving; /* the latest first */
    uint64_t body_bytes;             /* of all */
    uint64_t settled_bytes;          /* of these: of those that are kept */
};

struct admission *admission_new(uint64_t seed)
{
    struct admission *a = mem_zalloc(sizeof *a);

    a->seed = seed;
    return a;
}

void admission_free(struct admission *a)
{
    mem_free(a);
}

/* ---- addresses */

struct admission_key admission_key(const struct sockaddr *from)
{
    struct admission_key key = {{0}};
    struct in6_addr v6;

    if (from == NULL)
        return key;
    if (from->sa_family == AF_INET) {
        memcpy(key.bytes + 4, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        memcpy(&v6, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, sizeof v6);
        if (IN6_IS_ADDR_V4MAPPED(&v6))
            memcpy(key.bytes + 4, v6.s6_addr + 12, 4);
        else
            memcpy(key.bytes, v6.s6_addr, 8);
    }
    return key;
}

/* Where an address with this key is linked, or would be. */
static struct admission_address **address_at(struct admission *a, const struct admission_key *key)
{
    uint64_t hash = a->seed;
    struct admission_address **at;

    for (unsigned i = 0; i < sizeof key->bytes; i++)
        hash = (hash ^ key->bytes[i]) * 1099511628211U;
    at = &a->addresses[(hash >> 32) % ADDRESS_SLOTS];
    while (*at != NULL && memcmp((*at)->key.bytes, key->bytes, sizeof key->bytes) != 0)
        at = &(*at)->next;
    return at;
}

/* The one with the most unproven connections, or with the most bytes from such; NULL: nobody has any. */
static const struct admission_address *address_worst(const struct admission *a, bool by_bytes)
{
    const struct admission_address *worst = NULL;
    uint64_t most = 0;

    for (unsigned i = 0; i < ADDRESS_SLOTS; i++) {
        for (const struct admission_address *address = a->addresses[i]; address != NULL; address = address->next) {
            uint64_t has = by_bytes ? address->body_bytes : address->unproven;

            if (has > most) {
                most = has;
                worst = address;
            }
        }
    }
    return worst;
}

bool admission_may_come(struct admission *a, const struct admission_key *key, unsigned per_address_max)
{
    const struct admission_address *known = per_address_max > 0 ? *address_at(a, key) : NULL;

    return known == NULL || known->connections < per_address_max;
}

/* ---- connections */

/* Where it stands as one that could be chosen in this state. */
static struct admission_list *list_in(const struct admission_conn *c, enum admission_state state)
{
    if (state == ADMISSION_WORKING || state == ADMISSION_LEAVING)
        return NULL;
    if (!c->proven)
        return &c->places->unproven;
    return state == ADMISSION_RESTING ? &c->places->resting : NULL;
}

static void conn_unlink(struct admission_conn *c)
{
    struct admission_list *list = list_in(c, c->state);

    c->places->leaving -= c->state == ADMISSION_LEAVING;
    if (list == NULL)
        return;
    *(c->prev != NULL ? &c->prev->next : &list->head) = c->next;
    *(c->next != NULL ? &c->next->prev : &list->tail) = c->prev;
    c->address->unproven -= list == &c->places->unproven;
}

static void conn_link(struct admission_conn *c)
{
    struct admission_list *list = list_in(c, c->state);

    c->places->leaving += c->state == ADMISSION_LEAVING;
    if (list == NULL)
        return;
    c->prev = list->tail;
    c->next = NULL;
    *(list->tail != NULL ? &list->tail->next : &list->head) = c;
    list->tail = c;
    c->address->unproven += list == &c->places->unproven;
}

void admission_come(struct admission *a, struct admission_conn *c, struct admission_places *places,
                    const struct admission_key *key, int64_t now_ms)
{
    struct admission_address **at = address_at(a, key);

    if (*at == NULL) {
        *at = mem_zalloc(sizeof **at);
        (*at)->key = *key;
    }
    (*at)->connections++;
    c->places = places;
    c->address = *at;
    c->since_ms = now_ms;
    c->state = ADMISSION_BUSY;
    c->proven = false;
    places->taken++;
    conn_link(c);
}

void admission_leave(struct admission *a, struct admission_conn *c)
{
    struct admission_address **at;

    conn_unlink(c);
    c->places->taken--;
    if (--c->address->connections > 0)
        return;
    at = address_at(a, &c->address->key);
    *at = c->address->next;
    mem_free(c->address);
}

void admission_move(struct admission_conn *c, enum admission_state state, int64_t now_ms)
{
    if (c->state == ADMISSION_LEAVING)
        return;
    /* who is not proven keeps its age: a refused request makes nobody a newcomer again */
    if (!c->proven && list_in(c, state) == list_in(c, c->state)) {
        c->state = state;
        return;
    }
    conn_unlink(c);
    c->state = state;
    c->since_ms = now_ms;
    conn_link(c);
}

void admission_prove(struct admission_conn *c, int64_t now_ms)
{
    if (c->proven)
        return;
    conn_unlink(c);
    c->proven = true;
    c->since_ms = now_ms;
    conn_link(c);
}

bool admission_is_full(const struct admission_places *places)
{
    return places->taken >= places->max && places->leaving == 0;
}

int64_t admission_spare_at_ms(const struct admission_places *places)
{
    int64_t at_ms = INT64_MAX;

    if (places->unproven.head != NULL)
        at_ms = places->unproven.head->since_ms + ADMISSION_NEWCOMER_MS;
    if (places->resting.head != NULL && places->resting.head->since_ms + ADMISSION_RESTED_MS < at_ms)
        at_ms = places->resting.head->since_ms + ADMISSION_RESTED_MS;
    return at_ms;
}

/* The oldest unproven connections, of this address or of any (NULL), but no newcomers. */
static size_t choose_unproven(const struct admission_places *places, const struct admission_address *of, int64_t now_ms,
                              size_t at_most, struct admission_conn **ret)
{
    size_t count = 0;

    for (struct admission_conn *c = places->unproven.head;
         c != NULL && count < at_most && now_ms - c->since_ms >= ADMISSION_NEWCOMER_MS; c = c->next) {
        if (of == NULL || c->address == of)
            ret[count++] = c;
    }
    return count;
}

size_t admission_choose(const struct admission *a, const struct admission_places *places, int64_t now_ms,
                        struct admission_conn *ret[ADMISSION_CHOSEN_MAX])
{
    const struct admission_address *worst = address_worst(a, false);
    size_t count = 0;

    if (worst != NULL && worst->unproven > ADMISSION_CHOSEN_MAX)
        count = choose_unproven(places, worst, now_ms, ADMISSION_CHOSEN_MAX / 2, ret);
    if (count == 0)
        count = choose_unproven(places, NULL, now_ms, ADMISSION_CHOSEN_MAX, ret);
    if (count == 0 && places->resting.head != NULL && now_ms - places->resting.head->since_ms >= ADMISSION_RESTED_MS)
        ret[count++] = places->resting.head;
    return count;
}

/* ---- bodies */

static bool is_of_unproven(const struct admission_body *b)
{
    return b->arriving && !b->conn->proven;
}

bool admission_body_fits(const struct admission *a, uint64_t bytes, uint64_t max_bytes)
{
    return max_bytes == 0 || bytes + a->settled_bytes <= max_bytes;
}

void admission_body_arrives(struct admission *a, struct admission_body *b)
{
    b->arriving = true;
    b->earlier = a->arriving;
    if (a->arriving != NULL)
        a->arriving->later = b;
    a->arriving = b;
}

static void remove_arriving(struct admission *a, struct admission_body *b)
{
    if (!b->arriving)
        return;
    *(b->later != NULL ? &b->later->earlier : &a->arriving) = b->earlier;
    if (b->earlier != NULL)
        b->earlier->later = b->later;
    b->arriving = false;
}

void admission_body_count(struct admission *a, struct admission_body *b, uint64_t bytes)
{
    uint64_t more = bytes - b->bytes; /* wraps around for less, and the sums with it */

    a->body_bytes += more;
    if (is_of_unproven(b))
        b->conn->address->body_bytes += more;
    if (b->settled)
        a->settled_bytes += more;
    b->bytes = bytes;
}

void admission_body_settle(struct admission *a, struct admission_body *b, bool kept)
{
    if (is_of_unproven(b))
        b->conn->address->body_bytes -= b->bytes;
    remove_arriving(a, b);
    if (kept && !b->settled) {
        b->settled = true;
        a->settled_bytes += b->bytes;
    }
}

void admission_body_gone(struct admission *a, struct admission_body *b)
{
    admission_body_count(a, b, 0);
    remove_arriving(a, b);
}

struct admission_body *admission_body_victim(const struct admission *a, uint64_t max_bytes)
{
    const struct admission_address *worst;
    struct admission_body *oldest = NULL;

    if (max_bytes == 0 || a->body_bytes <= max_bytes)
        return NULL;
    worst = address_worst(a, true);
    for (struct admission_body *b = a->arriving; b != NULL; b = b->earlier) {
        if (worst == NULL || (b->conn->address == worst && !b->conn->proven))
            oldest = b;
    }
    return oldest;
}
