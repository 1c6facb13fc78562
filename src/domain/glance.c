#include "domain/glance.h"

#include "base/text.h"

enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR, SLOW_SECONDS = 5 * MINUTE };

const char *glance_level_name(enum glance_level level)
{
    static const char *const names[] = {"ok", "attention", "trouble", "not_ready"};

    return names[level];
}

static const char *two_places(int64_t big, const char *big_unit, int64_t small, const char *small_unit,
                              struct arena *arena)
{
    if (small == 0) {
        return arena_printf(arena, "%s %s", num_text(big).s, big_unit);
    }
    return arena_printf(arena, "%s %s %s %s", num_text(big).s, big_unit, num_text(small).s, small_unit);
}

const char *glance_duration(int64_t seconds, struct arena *arena)
{
    if (seconds < MINUTE) {
        return arena_printf(arena, "%s s", num_text(seconds > 0 ? seconds : 0).s);
    }
    if (seconds < HOUR) {
        return arena_printf(arena, "%s min", num_text(seconds / MINUTE).s);
    }
    if (seconds < DAY) {
        return two_places(seconds / HOUR, "h", seconds / MINUTE % 60, "min", arena);
    }
    return two_places(seconds / DAY, "d", seconds / HOUR % 24, "h", arena);
}

/* "no events", "1 event", "17 events" */
static const char *amount(int64_t n, const char *one, struct arena *arena)
{
    return arena_printf(arena, "%s %s%s", n == 0 ? "no" : num_text(n).s, one, n == 1 ? "" : "s");
}

static const char *sentence_of_work(const struct glance_facts *f, struct arena *arena)
{
    const char *waiting = f->waiting == 0 ? "Nothing waits."
                                          : arena_printf(arena, "%s %s.", amount(f->waiting, "candidate", arena),
                                                         f->waiting == 1 ? "waits" : "wait");

    if (f->events == 0 && f->writes == 0) {
        return arena_printf(arena, "Nothing has come in during the last hour. %s", waiting);
    }
    return arena_printf(arena, "In the last hour %s came in and %s went out. %s", amount(f->events, "event", arena),
                        amount(f->writes, "write", arena), waiting);
}

/* "2 problems. The first: ..." */
static const char *sentence_of_issues(int64_t n, const char *what, const char *worst, struct arena *arena)
{
    return arena_printf(arena, "%s%s%s", amount(n, what, arena), worst ? (n == 1 ? ": " : ", the first: ") : ".",
                        worst ? worst : "");
}

/* "cannot connect to the database" -> "Cannot connect to the database." */
static const char *as_sentence(const char *words, struct arena *arena)
{
    char *copy = arena_strdup(arena, words);
    size_t len = strlen(copy);

    if (copy[0] >= 'a' && copy[0] <= 'z') {
        copy[0] = (char)(copy[0] - 'a' + 'A');
    }
    return len > 0 && strchr(".?!", copy[len - 1]) ? copy : arena_printf(arena, "%s.", copy);
}

struct glance glance_of(const struct glance_facts *f, struct arena *arena)
{
    if (!f->ready) {
        return (struct glance){
            .level = GLANCE_NOT_READY,
            .headline = "Not ready",
            .sentence = arena_printf(arena, "%s Webhooks are answered 503 and have to be sent again.",
                                     as_sentence(f->reason ? f->reason : "the reason is not known", arena)),
        };
    }
    if (f->errors > 0) {
        return (struct glance){
            .level = GLANCE_TROUBLE,
            .headline = "Trouble",
            .sentence = sentence_of_issues(f->errors, "problem", f->worst, arena),
        };
    }
    if (f->oldest_due_seconds >= SLOW_SECONDS) {
        return (struct glance){
            .level = GLANCE_ATTENTION,
            .headline = "Slow",
            .sentence = arena_printf(arena, "A candidate has been due for %s: delivery does not keep up. %s",
                                     glance_duration(f->oldest_due_seconds, arena), sentence_of_work(f, arena)),
        };
    }
    if (f->warnings > 0) {
        return (struct glance){
            .level = GLANCE_ATTENTION,
            .headline = "Worth a look",
            .sentence = sentence_of_issues(f->warnings, "warning", f->worst, arena),
        };
    }
    return (struct glance){.level = GLANCE_OK, .headline = "All is well", .sentence = sentence_of_work(f, arena)};
}
