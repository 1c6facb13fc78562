/*
 * address - IP addresses as text: which of them are on no public network. Looks no name up, and does not take the short forms that a resolver takes ("127.1").
 * Pure; any thread.
 */
#ifndef ATSYNC_BASE_ADDRESS_H
#define ATSYNC_BASE_ADDRESS_H

#include <stdbool.h>

bool address_is_numeric(const char *text); /* IPv4 with four numbers, or IPv6 */
/*
 * Whether it is one that a public name must not lead to: loopback, private (RFC 1918, RFC
 * 4193), link-local, shared (RFC 6598), multicast, unspecified, reserved (RFC 6890), and IPv6 forms that carry such an
 * IPv4 address (mapped, compatible, NAT64, 6to4). Also true for what is no address.
 */
bool address_is_private(const char *address);

#endif
