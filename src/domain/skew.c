#include "domain/skew.h"

bool skew_is_sure(int64_t ahead_us, int64_t unsure_us)
{
    int64_t apart_us = ahead_us < 0 ? -ahead_us : ahead_us;

    return apart_us > SKEW_MAX_MS * INT64_C(1000) + unsure_us;
}
