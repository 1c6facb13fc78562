#include "domain/breaker.h"

enum {
    CALLS_MIN = 10,
    CLEAN_MAX = 2 * CALLS_MIN,
    OPEN_MIN_MS = 15000,
    OPEN_MAX_MS = 300000,
    RAMP_START = 2,
    RAMP_SECONDS = 10
};

bool breaker_should_open(int64_t calls, int64_t failures)
{
    return calls >= CALLS_MIN && 2 * failures >= calls;
}

void breaker_clean_add(struct breaker_clean *clean, int64_t calls, int64_t now_ms)
{
    if (calls == 0) { /* nothing new: what there is does not get younger */
        return;
    }
    calls += breaker_clean_take(clean, now_ms);
    clean->calls = calls < CLEAN_MAX ? calls : CLEAN_MAX;
    clean->at_ms = now_ms;
}

int64_t breaker_clean_take(struct breaker_clean *clean, int64_t now_ms)
{
    int64_t calls = now_ms - clean->at_ms < BREAKER_WINDOW_MS ? clean->calls : 0;

    clean->calls = 0;
    return calls;
}

int64_t breaker_open_ms(int64_t opens)
{
    int64_t ms = OPEN_MIN_MS;

    while (opens-- > 0 && ms < OPEN_MAX_MS) {
        ms *= 2;
    }
    return ms < OPEN_MAX_MS ? ms : OPEN_MAX_MS;
}

size_t breaker_ramp(int64_t ms_since_closing)
{
    int64_t seconds = ms_since_closing / 1000;

    return seconds >= RAMP_SECONDS ? SIZE_MAX : (size_t)RAMP_START << seconds;
}
