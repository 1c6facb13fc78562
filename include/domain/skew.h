/*
 * skew - do two clocks differ by more than anybody can work with?
 *
 * What the daemon and `atsyncctl check` say about this machine's clock and the database's is decided here, so that both say the same. Pure.
 */
#ifndef ATSYNC_DOMAIN_SKEW_H
#define ATSYNC_DOMAIN_SKEW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

enum { SKEW_MAX_MS = 5000 };

/* ahead_us: one clock before the other (negative: behind), give or take unsure_us. True only if they surely differ by
 * more than SKEW_MAX_MS: a slow answer must not look like a wrong clock. */
bool skew_is_sure(int64_t ahead_us, int64_t unsure_us);

#endif
