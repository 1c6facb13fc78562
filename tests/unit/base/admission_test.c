#include "base/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/mem.h"

enum { PLACES = 20, SEED = 42, NOW_MS = 1000000 };

/* ---- a listener and those who are connected */

struct hall {
    struct admission *a;
    struct admission_places places;
};

static struct hall hall_new(void)
{
    return (struct hall){.a = admission_new(SEED), .places = {.max = PLACES}};
}

static struct admission_key key_of(const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(1)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(1)};

    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return admission_key((const struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return admission_key((const struct sockaddr *)&v6);
}

static void come(struct hall *hall, struct admission_conn *c, const char *address, int64_t now_ms)
{
    const struct admission_key key = key_of(address);

    *c = (struct admission_conn){.owner = c};
    admission_come(hall->a, c, &hall->places, &key, now_ms);
}

static void come_many(struct hall *hall, struct admission_conn *c, size_t count, const char *address, int64_t now_ms)
{
    for (size_t i = 0; i < count; i++)
        come(hall, &c[i], address, now_ms);
}

static void leave_many(struct hall *hall, struct admission_conn *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        admission_leave(hall->a, &c[i]);
}

/* Those chosen are these, one after the other. */
static void assert_chosen(const struct hall *hall, int64_t now_ms, const struct admission_conn *first, size_t count)
{
    struct admission_conn *chosen[ADMISSION_CHOSEN_MAX];

    assert_int_equal(admission_choose(hall->a, &hall->places, now_ms, chosen), count);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(chosen[i], first + i);
        assert_ptr_equal(chosen[i]->owner, first + i);
    }
}

/* ---- addresses */

static void an_ipv6_address_counts_by_its_first_64_bits(void **state)
{
    static const struct {
        const char *one;
        const char *other;
        bool same;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "193.0.2.1", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true}, /* as a listener of both kinds shows it */
        {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
        {"2001:db8:1:2::1", "2001:db8:1:2:8000::", true},
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"2001:db8:1:2::1", "2001:db9:1:2::1", false},
        {"2001:db8:1:2::1", "a001:db8:1:2::1", false},
        {"::1", "::2", true},
        {"::1", "127.0.0.1", false},
        {"64:ff9b::192.0.2.1", "::ffff:192.0.2.1", false},
    };
    const struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/x"};
    const struct admission_key none = admission_key(NULL);
    const struct admission_key of_local = admission_key((const struct sockaddr *)&local);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const struct admission_key one = key_of(cases[i].one);
        const struct admission_key other = key_of(cases[i].other);

        if ((memcmp(&one, &other, sizeof one) == 0) != cases[i].same)
            fail_msg("%s and %s", cases[i].one, cases[i].other);
    }
    assert_memory_equal(&none, &of_local, sizeof none);
}

static void an_address_has_a_number_of_connections_at_most(void **state)
{
    struct hall hall = hall_new();
    struct admission_places others = {.max = PLACES};
    const struct admission_key key = key_of("2001:db8::1");
    const struct admission_key same = key_of("2001:db8::2");
    const struct admission_key other = key_of("2001:db8:0:1::1");
    struct admission_conn c[2] = {{0}};

    (void)state;
    assert_true(admission_may_come(hall.a, &key, 1));
    admission_come(hall.a, &c[0], &hall.places, &key, NOW_MS);
    assert_false(admission_may_come(hall.a, &same, 1));
    assert_true(admission_may_come(hall.a, &same, 2));
    assert_true(admission_may_come(hall.a, &other, 1));
    admission_come(hall.a, &c[1], &others, &same, NOW_MS); /* counted wherever they have their place */
    assert_false(admission_may_come(hall.a, &key, 2));
    assert_true(admission_may_come(hall.a, &key, 0));
    admission_move(&c[0], ADMISSION_LEAVING, NOW_MS);
    assert_false(admission_may_come(hall.a, &key, 2)); /* not gone yet */
    admission_leave(hall.a, &c[0]);
    assert_true(admission_may_come(hall.a, &key, 2));
    assert_int_equal(hall.places.taken, 0);
    assert_int_equal(others.taken, 1);
    admission_leave(hall.a, &c[1]);
    assert_true(admission_may_come(hall.a, &key, 1));
    admission_free(hall.a);
}

/* More than there are slots, so that many share one; they leave in another order. */
static void many_addresses_are_told_apart(void **state)
{
    enum { MANY = 5000 };
    struct hall hall = hall_new();
    struct admission_conn *c = mem_array(MANY, sizeof *c);
    char address[64];

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(address, sizeof address, "10.0.%u.%u", i / 256, i % 256);
        come(&hall, &c[i], address, NOW_MS);
    }
    for (unsigned i = 0; i < MANY; i++) {
        unsigned k = (i * 7919) % MANY;
        struct admission_key key;

        (void)snprintf(address, sizeof address, "10.0.%u.%u", k / 256, k % 256);
        key = key_of(address);
        assert_false(admission_may_come(hall.a, &key, 1));
        assert_true(admission_may_come(hall.a, &key, 2));
        admission_leave(hall.a, &c[k]);
        assert_true(admission_may_come(hall.a, &key, 1));
    }
    assert_int_equal(hall.places.taken, 0);
    mem_free(c);
    admission_free(hall.a);
}

/* ---- places */

static void full_is_when_nobody_is_about_to_leave(void **state)
{
    struct hall hall = hall_new();
    struct admission_conn c[PLACES];

    (void)state;
    assert_false(admission_is_full(&hall.places));
    come_many(&hall, c, PLACES - 1, "192.0.2.1", NOW_MS);
    assert_false(admission_is_full(&hall.places));
    come(&hall, &c[PLACES - 1], "192.0.2.1", NOW_MS);
    assert_true(admission_is_full(&hall.places));
    admission_move(&c[3], ADMISSION_LEAVING, NOW_MS);
    assert_false(admission_is_full(&hall.places));
    admission_move(&c[3], ADMISSION_BUSY, NOW_MS); /* that is final */
    assert_false(admission_is_full(&hall.places));
    admission_leave(hall.a, &c[3]);
    assert_false(admission_is_full(&hall.places));
    come(&hall, &c[3], "192.0.2.1", NOW_MS);
    assert_true(admission_is_full(&hall.places));
    leave_many(&hall, c, PLACES);
    admission_free(hall.a);
}

static void the_oldest_unproven_go_first(void **state)
{
    struct hall hall = hall_new();
    struct admission_conn c[12];
    char address[] = "192.0.2.?";

    (void)state;
    assert_true(admission_spare_at_ms(&hall.places) == INT64_MAX);
    assert_chosen(&hall, NOW_MS, NULL, 0);
    for (unsigned i = 0; i < ATS_COUNT(c); i++) { /* two of each address */
        address[sizeof address - 2] = (char)('0' + i / 2);
        come(&hall, &c[i], address, NOW_MS + i);
    }
    assert_true(admission_spare_at_ms(&hall.places) == NOW_MS + ADMISSION_NEWCOMER_MS);
    assert_chosen(&hall, NOW_MS + ADMISSION_NEWCOMER_MS - 1, NULL, 0); /* all have only just come */
    assert_chosen(&hall, NOW_MS + ADMISSION_NEWCOMER_MS, &c[0], 1);
    assert_chosen(&hall, NOW_MS + ADMISSION_NEWCOMER_MS + 2, &c[0], 3);
    assert_chosen(&hall, NOW_MS + 10000, &c[0], ADMISSION_CHOSEN_MAX); /* so many at a time */
    admission_move(&c[0], ADMISSION_LEAVING, NOW_MS + 10000);
    assert_chosen(&hall, NOW_MS + 10000, &c[1], ADMISSION_CHOSEN_MAX);
    leave_many(&hall, c, ATS_COUNT(c));
    assert_true(admission_spare_at_ms(&hall.places) == INT64_MAX);
    admission_free(hall.a);
}

/* Requests that are refused make nobody younger. */
static void who_asks_in_vain_stays_as_old(void **state)
{
    struct hall hall = hall_new();
    struct admission_conn c[3];

    (void)state;
    come_many(&hall, c, ATS_COUNT(c), "192.0.2.1", NOW_MS);
    for (int64_t ms = 0; ms < 1000; ms += 10) {
        admission_move(&c[0], ADMISSION_RESTING, NOW_MS + ms);
        admission_move(&c[0], ADMISSION_BUSY, NOW_MS + ms + 5);
    }
    assert_true(admission_spare_at_ms(&hall.places) == NOW_MS + ADMISSION_NEWCOMER_MS);
    assert_chosen(&hall, NOW_MS + 1000, c, 3);
    admission_prove(&c[0], NOW_MS + 1000); /* and one that was of use rests from then on */
    admission_move(&c[0], ADMISSION_RESTING, NOW_MS + 1000);
    admission_move(&c[1], ADMISSION_LEAVING, NOW_MS);
    admission_move(&c[2], ADMISSION_LEAVING, NOW_MS);
    assert_chosen(&hall, NOW_MS + 1000 + ADMISSION_RESTED_MS - 1, NULL, 0);
    assert_chosen(&hall, NOW_MS + 1000 + ADMISSION_RESTED_MS, c, 1);
    leave_many(&hall, c, ATS_COUNT(c));
    admission_free(hall.a);
}

static void who_is_proven_or_worked_for_stays(void **state)
{
    struct hall hall = hall_new();
    struct admission_conn c[4];

    (void)state;
    come_many(&hall, c, ATS_COUNT(c), "192.0.2.1", NOW_MS);
    admission_prove(&c[0], NOW_MS);
    admission_move(&c[1], ADMISSION_WORKING, NOW_MS);
    assert_chosen(&hall, NOW_MS + 10000, &c[2], 2);
    admission_move(&c[1], ADMISSION_BUSY, NOW_MS); /* no longer worked for, and of no use yet */
    admission_move(&c[2], ADMISSION_LEAVING, NOW_MS);
    admission_move(&c[3], ADMISSION_LEAVING, NOW_MS);
    assert_chosen(&hall, NOW_MS + 10000, &c[1], 1);
    admission_prove(&c[1], NOW_MS);
    admission_prove(&c[1], NOW_MS);
    assert_chosen(&hall, NOW_MS + 10000, NULL, 0);
    leave_many(&hall, c, ATS_COUNT(c));
    admission_free(hall.a);
}

static void an_address_with_many_unproven_ones_loses_its_own(void **state)
{
    enum { MANY = ADMISSION_CHOSEN_MAX + 1 };
    struct hall hall = hall_new();
    struct admission_places others = {.max = PLACES};
    struct admission_conn old, many[MANY], elsewhere[MANY + 5], late[2];
    struct admission_conn *chosen[ADMISSION_CHOSEN_MAX];
    const struct admission_key key = key_of("198.51.100.1");

    (void)state;
    come(&hall, &old, "192.0.2.1", NOW_MS - 1);
    come_many(&hall, many, MANY - 1, "2001:db8::1", NOW_MS);
    assert_chosen(&hall, NOW_MS + ADMISSION_NEWCOMER_MS - 1, &old, 1); /* ten are not many */
    come(&hall, &many[MANY - 1], "2001:db8::1:1", NOW_MS);
    assert_chosen(&hall, NOW_MS + ADMISSION_NEWCOMER_MS - 1, &old, 1); /* newcomers stay, whoever has sent them */
    assert_chosen(&hall, NOW_MS + ADMISSION_NEWCOMER_MS, many, ADMISSION_CHOSEN_MAX / 2);
    admission_prove(&many[0], NOW_MS);
    assert_int_equal(admission_choose(hall.a, &hall.places, NOW_MS + ADMISSION_NEWCOMER_MS, chosen),
                     ADMISSION_CHOSEN_MAX);
    assert_ptr_equal(chosen[0], &old); /* ten again: who is proven does not count */
    assert_ptr_equal(chosen[1], &many[1]);
    /* nor who rests, however many */
    for (size_t i = 0; i < MANY; i++) {
        come(&hall, &elsewhere[i], "2001:db8::1", NOW_MS);
        admission_prove(&elsewhere[i], NOW_MS);
        admission_move(&elsewhere[i], ADMISSION_RESTING, NOW_MS);
        admission_move(&many[i], ADMISSION_LEAVING, NOW_MS);
    }
    come_many(&hall, late, ATS_COUNT(late), "2001:db8::1", NOW_MS);
    assert_int_equal(admission_choose(hall.a, &hall.places, NOW_MS + ADMISSION_NEWCOMER_MS, chosen),
                     1 + ATS_COUNT(late));
    assert_ptr_equal(chosen[0], &old);
    leave_many(&hall, late, ATS_COUNT(late));
    leave_many(&hall, elsewhere, MANY);
    leave_many(&hall, many, MANY);
    come_many(&hall, many, MANY, "2001:db8::1", NOW_MS);

    /* the address with the most has them at another listener */
    for (size_t i = 0; i < ATS_COUNT(elsewhere); i++) {
        elsewhere[i] = (struct admission_conn){.owner = &elsewhere[i]};
        admission_come(hall.a, &elsewhere[i], &others, &key, NOW_MS);
    }
    assert_chosen(&hall, NOW_MS + ADMISSION_NEWCOMER_MS - 1, &old, 1);
    leave_many(&hall, elsewhere, ATS_COUNT(elsewhere));
    leave_many(&hall, many, MANY);
    leave_many(&hall, &old, 1);
    admission_free(hall.a);
}

static void then_who_has_rested_longest(void **state)
{
    struct hall hall = hall_new();
    struct admission_conn c[4];

    (void)state;
    come_many(&hall, c, ATS_COUNT(c), "192.0.2.1", NOW_MS);
    for (size_t i = 0; i < ATS_COUNT(c); i++) {
        admission_prove(&c[i], NOW_MS);
        admission_move(&c[i], ADMISSION_RESTING, NOW_MS + (int64_t)i);
    }
    admission_move(&c[0], ADMISSION_BUSY, NOW_MS + 10); /* its next request */
    assert_true(admission_spare_at_ms(&hall.places) == NOW_MS + 1 + ADMISSION_RESTED_MS);
    assert_chosen(&hall, NOW_MS + ADMISSION_RESTED_MS, NULL, 0); /* not for long either */
    assert_chosen(&hall, NOW_MS + 1 + ADMISSION_RESTED_MS, &c[1], 1);
    assert_chosen(&hall, NOW_MS + 10000, &c[1], 1); /* one at a time */
    admission_move(&c[1], ADMISSION_RESTING, NOW_MS + 20);
    assert_chosen(&hall, NOW_MS + 10000, &c[2], 1);

    /* as long as there is an unproven one that is no newcomer, nobody who rests goes */
    leave_many(&hall, &c[3], 1);
    come(&hall, &c[3], "192.0.2.1", NOW_MS + 9000);
    assert_chosen(&hall, NOW_MS + 9000 + ADMISSION_NEWCOMER_MS - 1, &c[2], 1);
    assert_chosen(&hall, NOW_MS + 9000 + ADMISSION_NEWCOMER_MS, &c[3], 1);
    leave_many(&hall, c, ATS_COUNT(c));
    admission_free(hall.a);
}

/* ---- memory of bodies */

struct upload {
    struct admission_conn conn;
    struct admission_body body;
};

static void upload_begin(struct hall *hall, struct upload *u, const char *address, uint64_t bytes)
{
    come(hall, &u->conn, address, NOW_MS);
    u->body = (struct admission_body){.owner = u, .conn = &u->conn};
    admission_body_arrives(hall->a, &u->body);
    admission_body_count(hall->a, &u->body, bytes);
}

static void upload_end(struct hall *hall, struct upload *u)
{
    admission_body_gone(hall->a, &u->body);
    admission_leave(hall->a, &u->conn);
}

static const void *victim(const struct hall *hall, uint64_t max_bytes)
{
    const struct admission_body *b = admission_body_victim(hall->a, max_bytes);

    return b != NULL ? b->owner : NULL;
}

static void the_oldest_body_of_the_address_that_sent_most_goes(void **state)
{
    struct hall hall = hall_new();
    struct upload one, other, most[2], proven;

    (void)state;
    assert_null(victim(&hall, 1));
    come(&hall, &proven.conn, "203.0.113.1", NOW_MS);
    admission_prove(&proven.conn, NOW_MS);
    proven.body = (struct admission_body){.owner = &proven, .conn = &proven.conn};
    admission_body_arrives(hall.a, &proven.body);
    admission_body_count(hall.a, &proven.body, 1000);
    upload_begin(&hall, &one, "192.0.2.1", 100);
    upload_begin(&hall, &most[0], "2001:db8::1", 60);
    upload_begin(&hall, &most[1], "2001:db8::2", 60);
    upload_begin(&hall, &other, "198.51.100.1", 100);
    assert_null(victim(&hall, 1320));
    assert_null(victim(&hall, 0)); /* no limit */
    assert_ptr_equal(victim(&hall, 1319), &most[0]);
    upload_end(&hall, &most[0]);
    assert_null(victim(&hall, 1260));
    admission_body_count(hall.a, &other.body, 101);
    assert_ptr_equal(victim(&hall, 1259), &other);
    upload_end(&hall, &other);
    assert_ptr_equal(victim(&hall, 1), &one);
    upload_end(&hall, &one);
    assert_ptr_equal(victim(&hall, 1), &most[1]);
    upload_end(&hall, &most[1]);
    upload_begin(&hall, &one, "203.0.113.1", 1); /* beside an older one of the same address, which is proven */
    assert_ptr_equal(victim(&hall, 1), &one);
    upload_end(&hall, &one);
    assert_ptr_equal(victim(&hall, 999), &proven); /* when nobody else is left */
    assert_null(victim(&hall, 1000));
    upload_end(&hall, &proven);
    assert_null(victim(&hall, 1));
    admission_free(hall.a);
}

static void what_is_complete_keeps_its_memory(void **state)
{
    struct hall hall = hall_new();
    struct upload kept, answered, arriving;

    (void)state;
    upload_begin(&hall, &kept, "192.0.2.1", 500);
    upload_begin(&hall, &answered, "192.0.2.1", 300);
    assert_true(admission_body_fits(hall.a, 1000, 1000)); /* what arrives gives way */
    admission_body_settle(hall.a, &kept.body, false);
    assert_true(admission_body_fits(hall.a, 1000, 1000));
    admission_body_settle(hall.a, &kept.body, true);
    admission_body_settle(hall.a, &kept.body, true);
    assert_true(admission_body_fits(hall.a, 500, 1000));
    assert_false(admission_body_fits(hall.a, 501, 1000));
    assert_true(admission_body_fits(hall.a, UINT64_MAX, 0));
    admission_body_settle(hall.a, &answered.body, false);
    assert_true(admission_body_fits(hall.a, 500, 1000));
    assert_null(victim(&hall, 100)); /* both are complete */

    /* what they have sent counts against their address no more */
    upload_begin(&hall, &arriving, "198.51.100.1", 10);
    assert_ptr_equal(victim(&hall, 100), &arriving);
    admission_body_gone(hall.a, &arriving.body);
    assert_null(victim(&hall, 100));
    admission_body_gone(hall.a, &kept.body);
    assert_true(admission_body_fits(hall.a, 1000, 1000));
    admission_body_gone(hall.a, &answered.body);
    assert_null(victim(&hall, 1));
    leave_many(&hall, &kept.conn, 1);
    leave_many(&hall, &answered.conn, 1);
    leave_many(&hall, &arriving.conn, 1);
    admission_free(hall.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ipv6_address_counts_by_its_first_64_bits),
        cmocka_unit_test(an_address_has_a_number_of_connections_at_most),
        cmocka_unit_test(many_addresses_are_told_apart),
        cmocka_unit_test(full_is_when_nobody_is_about_to_leave),
        cmocka_unit_test(the_oldest_unproven_go_first),
        cmocka_unit_test(who_asks_in_vain_stays_as_old),
        cmocka_unit_test(who_is_proven_or_worked_for_stays),
        cmocka_unit_test(an_address_with_many_unproven_ones_loses_its_own),
        cmocka_unit_test(then_who_has_rested_longest),
        cmocka_unit_test(the_oldest_body_of_the_address_that_sent_most_goes),
        cmocka_unit_test(what_is_complete_keeps_its_memory),
    };

    return cmocka_run_group_tests_name("base/admission", tests, NULL, NULL);
}
