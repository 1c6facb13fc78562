#include "base/address.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

static bool is_private_v4(uint32_t ip)
{
    static const struct {
        uint32_t net;
        unsigned bits;
    } nets[] = {
        {0x00000000, 8},  /* this network */
        {0x0a000000, 8},  /* private, RFC 1918 */
        {0x64400000, 10}, /* shared, RFC 6598 */
        {0x7f000000, 8},  /* loopback */
        {0xa9fe0000, 16}, /* link-local; metadata services of clouds */
        {0xac100000, 12}, /* private */
        {0xc0000000, 24}, /* protocol assignments, RFC 6890 */
        {0xc0a80000, 16}, /* private */
        {0xc6120000, 15}, /* benchmarks, RFC 2544 */
        {0xe0000000, 4},  /* multicast */
        {0xf0000000, 4},  /* reserved, broadcast */
    };

    for (size_t i = 0; i < ATS_COUNT(nets); i++)
        if ((ip ^ nets[i].net) >> (32 - nets[i].bits) == 0)
            return true;
    return false;
}

static uint32_t v4_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | (uint32_t)bytes[3];
}

static bool is_private_v6(const uint8_t ip[16])
{
    static const uint8_t zeros[12];
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t nat64_local[6] = {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}; /* RFC 8215 */

    if (memcmp(ip, zeros, sizeof zeros) == 0 || memcmp(ip, mapped, sizeof mapped) == 0 ||
        memcmp(ip, nat64, sizeof nat64) == 0)
        return is_private_v4(v4_at(ip + 12)); /* ::, ::1 and IPv4-compatible addresses come here as well */
    if (ip[0] == 0x20 && ip[1] == 0x02)       /* 6to4 */
        return is_private_v4(v4_at(ip + 2));
    return memcmp(ip, nat64_local, sizeof nat64_local) == 0 || (ip[0] & 0xfe) == 0xfc || /* unique local */
           (ip[0] == 0xfe && ip[1] >= 0x80) ||                                           /* link-local, site-local */
           ip[0] == 0xff;                                                                /* multicast */
}

bool address_is_numeric(const char *text)
{
    uint8_t bytes[16];

    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

bool address_is_private(const char *address)
{
    uint8_t bytes[16];

    if (inet_pton(AF_INET, address, bytes) == 1)
        return is_private_v4(v4_at(bytes));
    if (inet_pton(AF_INET6, address, bytes) == 1)
        return is_private_v6(bytes);
    return true;
}
