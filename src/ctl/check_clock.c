#include <inttypes.h>

#include "base/mem.h"
#include "ctl/check.h"
#include "domain/skew.h"

void finding_clear(struct finding *f)
{
    mem_free(f->message);
    mem_free(f->hint);
    *f = (struct finding){.ok = false};
}

struct finding check_clock(int64_t local_us, int64_t database_us, int64_t unsure_us)
{
    int64_t ahead_us = local_us - database_us;
    int64_t apart_us = ahead_us < 0 ? -ahead_us : ahead_us;
    const char *direction = ahead_us < 0 ? "behind" : "ahead of";
    struct finding f = {.ok = !skew_is_sure(ahead_us, unsure_us)};

    if (apart_us <= unsure_us) {
        f.message =
            mem_printf("the clocks of this machine and of the database agree to %" PRId64 " ms", unsure_us / 1000 + 1);
    } else {
        f.message = mem_printf("the clock of this machine is %" PRId64 ".%03" PRId64 " s %s the database's",
                               apart_us / 1000000, apart_us / 1000 % 1000, direction);
    }
    if (!f.ok) {
        f.hint = mem_strdup("set both by NTP: signatures that carry a time and the ends of access tokens are judged by "
                            "this machine's clock, delays and leases by the database's");
    }
    return f;
}
