#include "base/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"

static void test_numeric(void **state)
{
    (void)state;
    assert_true(address_is_numeric("192.0.2.1"));
    assert_true(address_is_numeric("::1"));
    assert_true(address_is_numeric("2001:db8::192.0.2.1"));
    assert_false(address_is_numeric("127.1"));
    assert_false(address_is_numeric("0x7f.0.0.1"));
    assert_false(address_is_numeric("[::1]"));
    assert_false(address_is_numeric("fe80::1%eth0"));
    assert_false(address_is_numeric("ats.example"));
    assert_false(address_is_numeric(""));
}

static void test_private_addresses(void **state)
{
    static const struct {
        const char *address;
        bool private;
    } cases[] = {
        {"0.0.0.0", true},
        {"0.1.2.3", true},
        {"1.0.0.0", false},
        {"9.255.255.255", false},
        {"10.0.0.0", true},
        {"10.255.255.255", true},
        {"11.0.0.0", false},
        {"100.63.255.255", false},
        {"100.64.0.0", true},
        {"100.127.255.255", true},
        {"100.128.0.0", false},
        {"126.255.255.255", false},
        {"127.0.0.1", true},
        {"127.255.255.255", true},
        {"128.0.0.0", false},
        {"169.253.255.255", false},
        {"169.254.169.254", true},
        {"169.255.0.0", false},
        {"172.15.255.255", false},
        {"172.16.0.0", true},
        {"172.31.255.255", true},
        {"172.32.0.0", false},
        {"192.0.0.8", true},
        {"192.0.1.0", false},
        {"192.167.255.255", false},
        {"192.168.0.1", true},
        {"192.169.0.0", false},
        {"198.17.255.255", false},
        {"198.18.0.0", true},
        {"198.19.255.255", true},
        {"198.20.0.0", false},
        {"223.255.255.255", false},
        {"224.0.0.1", true},
        {"239.255.255.255", true},
        {"240.0.0.0", true},
        {"255.255.255.255", true},
        {"8.8.8.8", false},
        {"::", true},
        {"::1", true},
        {"::8.8.8.8", false},
        {"::10.0.0.1", true},
        {"::ffff:127.0.0.1", true},
        {"::ffff:8.8.8.8", false},
        {"::ffff:a9fe:a9fe", true},
        {"64:ff9b::8.8.8.8", false},
        {"64:ff9b::10.1.2.3", true},
        {"64:ff9b:1::8.8.8.8", true},
        {"2002:7f00:1::", true},
        {"2002:808:808::", false},
        {"fc00::1", true},
        {"fdff::1", true},
        {"fbff::1", false},
        {"fe80::1", true},
        {"febf::1", true},
        {"fec0::1", true},
        {"fe7f::1", false},
        {"ff02::1", true},
        {"2001:4860:4860::8888", false},
        {"2a00::1", false},
        {"ats.example", true},
        {"", true},
        {"127.1", true},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        if (address_is_private(cases[i].address) != cases[i].private)
            fail_msg("%s should be %s", cases[i].address, cases[i].private ? "private" : "public");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_numeric), cmocka_unit_test(test_private_addresses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
