#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "config/sealing.h"

static char new_key[] = "the new key, long enough";
static char old_key[] = "the old key, long enough";

static struct sealing *with_keys(char **keys, size_t count)
{
    const struct config c = {.database = {.encryption_keys = keys, .encryption_key_count = count}};

    return sealing_new(&c);
}

static void assert_opens(const struct sealing *s, const char *sealed, bool is_old)
{
    char *plain = NULL;
    bool old = !is_old;
    struct errmsg err;

    assert_int_equal(sealing_open(s, sealed, "here", &plain, &old, &err), ST_OK);
    assert_string_equal(plain, "a secret");
    assert_int_equal(old, is_old);
    mem_free_secret(plain);
}

static void assert_closed(const struct sealing *s, const char *sealed, const char *context)
{
    char *plain = NULL;
    struct errmsg err = {{0}};

    assert_int_equal(sealing_open(s, sealed, context, &plain, NULL, &err), ST_INVALID);
    assert_null(plain);
    assert_true(err.text[0] != '\0');
}

/* The way of a change: the old one alone, the new one added behind it, the new one in front, the new one alone. */
static void test_changing_the_key(void **state)
{
    char *only_old[] = {old_key}, *added[] = {old_key, new_key}, *in_front[] = {new_key, old_key},
         *only_new[] = {new_key};
    struct sealing *one = with_keys(only_old, 1);
    struct sealing *two = with_keys(added, 2);
    struct sealing *three = with_keys(in_front, 2);
    struct sealing *four = with_keys(only_new, 1);
    char *by_old = sealing_seal(one, "a secret", "here");
    char *by_two = sealing_seal(two, "a secret", "here");
    char *by_new = sealing_seal(three, "a secret", "here");

    (void)state;
    assert_true(sealing_protects(one));
    assert_opens(one, by_old, false);
    assert_opens(two, by_old, false);
    assert_opens(one, by_two, false); /* whoever has not got the new one yet can read what others write */
    assert_opens(three, by_old, true);
    assert_opens(two, by_new, true);
    assert_opens(four, by_new, false);
    assert_closed(four, by_old, "here");
    assert_closed(one, by_new, "here");
    assert_closed(three, by_old, "there");
    assert_closed(three, "v1:AAAA", "here");
    mem_free(by_old);
    mem_free(by_two);
    mem_free(by_new);
    sealing_free(one);
    sealing_free(two);
    sealing_free(three);
    sealing_free(four);
    sealing_free(NULL);
}

/* What was kept without a key is under one as soon as there is one. */
static void test_without_a_key(void **state)
{
    char *keys[] = {new_key};
    struct sealing *none = with_keys(NULL, 0);
    struct sealing *some = with_keys(keys, 1);
    char *sealed = sealing_seal(none, "a secret", "here");
    char *by_new = sealing_seal(some, "a secret", "here");

    (void)state;
    assert_false(sealing_protects(none));
    assert_opens(none, sealed, false);
    assert_opens(some, sealed, true);
    assert_closed(none, by_new, "here");
    mem_free(sealed);
    mem_free(by_new);
    sealing_free(none);
    sealing_free(some);
}

/* Texts that stand in databases since the first release with this form open for ever. */
static void test_the_form_is_kept(void **state)
{
    char *keys[] = {old_key};
    struct sealing *s = with_keys(keys, 1);

    (void)state;
    assert_opens(s, "v1:9H7vGrcHHWG+Y1s9m0Ch1AOMO9kK0+PXh1ScQJpAECPKkmQZ", false);
    sealing_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changing_the_key),
        cmocka_unit_test(test_without_a_key),
        cmocka_unit_test(test_the_form_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
