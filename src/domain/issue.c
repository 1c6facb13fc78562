#include "domain/issue.h"

#include <stdbool.h>

#include "base/text.h"
#include "domain/outcome.h"

static const char *or_none(const char *s)
{
    return s && s[0] ? s : "(none)";
}

/* "1 candidate", "17 candidates" */
static const char *candidates(int64_t n, struct arena *arena)
{
    return arena_printf(arena, "%s %s", num_text(n).s, n == 1 ? "candidate" : "candidates");
}

/* "1 candidate waits", "17 candidates wait" */
static const char *candidates_wait(int64_t n, struct arena *arena)
{
    return arena_printf(arena, "%s wait%s", candidates(n, arena), n == 1 ? "s" : "");
}

/* A sentence of somebody else's, to go on after it with one of ours. */
static const char *without_stop(const char *s, struct arena *arena)
{
    size_t len = strlen(s);

    while (len > 0 && (s[len - 1] == '.' || s[len - 1] == ' ')) {
        len--;
    }
    return arena_strndup(arena, s, len);
}

/* "7.5 seconds", "12 minutes", "3 hours", "2 days": as exact as people want to know it. */
static const char *duration(int64_t ms, struct arena *arena)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "days"}, {3600000, "hours"}, {60000, "minutes"}};

    for (size_t i = 0; i < ATS_COUNT(units); i++) {
        if (ms >= 2 * units[i].ms) {
            return arena_printf(arena, "%s %s", num_text((ms + units[i].ms / 2) / units[i].ms).s, units[i].name);
        }
    }
    return arena_printf(arena, "%.1f seconds", (double)ms / 1000);
}

/* "12 minutes ahead of", "7.5 seconds behind" */
static const char *ahead_of(int64_t ahead_ms, struct arena *arena)
{
    return arena_printf(arena, "%s %s", duration(ahead_ms < 0 ? -ahead_ms : ahead_ms, arena),
                        ahead_ms < 0 ? "behind" : "ahead of");
}

static const struct {
    const char *error_class;
    const char *hint;
} dead_hints[] = {
    {"not_found",
     "Check that the candidate's external id and the job of the workflow exist in the ATS; then atsyncctl retry."},
    {"invalid", "Compare the value with what the field or stage accepts in the ATS, correct the mapping and reload, or "
                "correct the ATS; then atsyncctl retry."},
    {"expired", "The ATS did not take it for as long as retry.max_age allows: when it works again, atsyncctl retry."},
    {"uncertain", "Look in the ATS whether the note is there: atsyncctl skip if it is, atsyncctl retry if it is not."},
    {"connector",
     "The connector's program failed: see the message, correct the connector file and reload; then atsyncctl retry."},
};

static const char *dead_hint(const char *error_class)
{
    for (size_t i = 0; i < ATS_COUNT(dead_hints); i++) {
        if (strcmp(dead_hints[i].error_class, error_class) == 0) {
            return dead_hints[i].hint;
        }
    }
    return "See dead_writes for each write; atsyncctl retry tries them again, atsyncctl skip gives them up.";
}

/* "set stage "Screen"", "write field "nmc_pin"", "write the note" */
static const char *wish_words(const struct problem *p, struct arena *a)
{
    static const struct {
        const char *kind, *words;
    } wishes[] = {
        {"stage", "set stage"},
        {"reject", "reject with the reason"},
        {"field", "write field"},
        {"tag", "add tag"},
    };

    for (size_t i = 0; i < ATS_COUNT(wishes) && p->what; i++) {
        if (strcmp(wishes[i].kind, p->kind) == 0) {
            return arena_printf(a, "%s \"%s\"", wishes[i].words, p->what);
        }
    }
    return arena_printf(a, "write the %s", p->kind);
}

/* What the mapping wants is not there in the ATS, or is called otherwise. */
static struct issue_text misfit(const struct problem *p, struct arena *a)
{
    const char *error = p->sample && p->sample[0] ? p->sample : outcome_class_words("configuration");

    return (struct issue_text){
        .severity = "error",
        .message = arena_printf(a, "Connector %s cannot %s for %s of workflow %s: %s.", p->connector, wish_words(p, a),
                                candidates(p->affected, a), or_none(p->workflow), without_stop(error, a)),
        .hint = arena_printf(a,
                             "Correct it in workflows.%s (or in the settings of connectors.%s) to what the ATS has, "
                             "and reload (systemctl reload atsyncd or kill -HUP): the writes are tried again by "
                             "themselves. If it was made in the ATS instead: atsyncctl retry --connector "
                             "%s.",
                             p->workflow ? p->workflow : "NAME", p->connector, p->connector),
    };
}

static struct issue_text dead_writes(const struct problem *p, struct arena *a)
{
    bool has_sample = p->sample && p->sample[0];

    if (p->kind) {
        return misfit(p, a);
    }
    return (struct issue_text){
        .severity = "error",
        .message =
            arena_printf(a, "Writes of workflow %s could not be made in the ATS by connector %s for %s: %s.%s%s",
                         or_none(p->workflow), p->connector, candidates(p->affected, a), outcome_class_words(p->detail),
                         has_sample ? " For example: " : "", has_sample ? p->sample : ""),
        .hint = dead_hint(p->detail),
    };
}

static struct issue_text unmapped(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "warning",
        .message = p->workflow
                       ? arena_printf(a, "Workflow %s is not in the configuration; %s for it.", p->workflow,
                                      candidates_wait(p->affected, a))
                       : arena_printf(a, "Runs of a workflow without an external id are not in the configuration; %s.",
                                      candidates_wait(p->affected, a)),
        .hint = "Add it under workflows (or a \"*\" mapping for all others) and reload; the candidates are synced then "
                "by themselves.",
    };
}

static struct issue_text identity(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "warning",
        .message = arena_printf(a, "The external id of %s is not known: no event of source %s has told it.",
                                candidates(p->affected, a), or_none(p->source)),
        .hint = "Give the candidates an external id in Popp, or give it here: atsyncctl link --profile ID "
                "--external-id X. They are synced then by themselves.",
    };
}

static struct issue_text identity_conflict(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "error",
        .message = arena_printf(
            a, "Events give %s two different external ids; nothing is written for those that do not say which.",
            or_none(p->detail)),
        .hint = "Decide which one is right: atsyncctl link --profile ID --external-id X.",
    };
}

static struct issue_text truncated(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "warning",
        .message = arena_printf(a, "Runs of workflow %s arrived cut off, and answers of %s are missing.",
                                or_none(p->workflow), candidates(p->affected, a)),
        .hint =
            arena_printf(a,
                         "Subscribe to WORKFLOW_NODE_COMPLETED in Popp, or give an API key in sources.%s.api, so that "
                         "cut events can be completed; what is known has been written.",
                         p->source ? p->source : "NAME"),
    };
}

static struct issue_text run_conflict(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "warning",
        .message =
            arena_printf(a, "Runs of workflow %s ended twice with different outcomes (%s); the later one was used.",
                         or_none(p->workflow), candidates(p->affected, a)),
        .hint = "Compare the runs in Popp with the view runs (conflict); correct the candidate in the ATS if the later "
                "outcome is wrong.",
    };
}

/* The sample is an error as it stands in last_error: with the limit in it. */
static struct issue_text too_large(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "error",
        .message = arena_printf(a,
                                "The stored events of %s of source %s are too many or too large to be worked on, and "
                                "nothing is written for them. Of one it is said: %s.",
                                candidates(p->affected, a), or_none(p->source),
                                p->sample ? without_stop(p->sample, a) : "(nothing)"),
        .hint =
            "The status page and the view sync_status (blocked_since, last_error) name them, and atsyncctl status "
            "CANDIDATE shows what was sent. If that is right, raise delivery.max_history and reload: they are worked "
            "on then by themselves. If it is not, stop whoever sends it (a signing secret that others know has to be "
            "changed); atsyncctl erase --candidate ID removes all that is stored of a candidate.",
    };
}

static struct issue_text connector_paused(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "error",
        .message = arena_printf(a, "%s. Connector %s is stopped; %s.",
                                p->sample ? without_stop(p->sample, a) : "No reason was given", p->connector,
                                candidates_wait(p->affected, a)),
        .hint = p->hint ? p->hint
                        : arena_printf(
                              a,
                              "Correct the connector's credentials, permissions or settings in the configuration "
                              "and reload; it goes on by itself then. If they were corrected in the ATS: atsyncctl "
                              "resume %s.",
                              p->connector),
    };
}

static struct issue_text connector_held(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "info",
        .message = arena_printf(a, "Connector %s was paused by an operator; %s.", p->connector,
                                candidates_wait(p->affected, a)),
        .hint = arena_printf(a, "atsyncctl resume %s lets it go on.", p->connector),
    };
}

static struct issue_text throttled(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "warning",
        .message = arena_printf(a, "The ATS of connector %s has been asking us to slow down for over an hour; %s.",
                                p->connector, candidates_wait(p->affected, a)),
        .hint = "Lower rate_limit of the connector, or ask the vendor for a higher limit; see who else uses the same "
                "API key.",
    };
}

static struct issue_text ats_away(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "error",
        .message = arena_printf(a, "The ATS of connector %s has not answered properly for over ten minutes; %s.%s%s",
                                p->connector, candidates_wait(p->affected, a), p->sample ? " Last error: " : "",
                                p->sample ? p->sample : ""),
        .hint = "See the vendor's status page and the network from here to there; nothing is lost, and it goes on by "
                "itself.",
    };
}

static struct issue_text unseen_slug(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "warning",
        .message = arena_printf(
            a, "The mapping of workflow %s uses the question \"%s\", which no run of its newest version has answered.",
            or_none(p->workflow), or_none(p->detail)),
        .hint = "The question may have been renamed or removed when the workflow was published: compare the slugs with "
                "the view answers and correct the mapping.",
    };
}

static struct issue_text signatures(const struct problem *p, struct arena *a)
{
    return (struct issue_text){
        .severity = "error",
        .message =
            arena_printf(a, "Webhooks of source %s are refused because their signature is wrong.", or_none(p->source)),
        .hint = "Compare the signing secret in Popp's developer portal with signing_secrets of the source; during a "
                "rotation list both. If the sender is not Popp, somebody else knows the address.",
    };
}

#define SET_BY_NTP                                                                                                     \
    "Let NTP set the clock of %s: chrony or systemd-timesyncd (timedatectl tells whether it is synchronized). "

/* Three pairs of clocks: the sender's and ours by what it signed, by what it says in the events, and the database's and ours. */
static struct issue_text clock_skew(const struct problem *p, struct arena *a)
{
    const char *ahead = ahead_of(p->ahead_ms, a);

    if (!p->source) {
        return (struct issue_text){
            .severity = "warning",
            .message = arena_printf(a, "The clock of the database is %s the clock of the machine that runs daemon %s.",
                                    ahead, or_none(p->detail)),
            .hint = arena_printf(a,
                                 SET_BY_NTP "This machine's clock judges the time in signed webhooks, TLS certificates "
                                            "and the ends of access tokens. The order of writes is decided by the "
                                            "database's clock and is not affected.",
                                 "both machines"),
        };
    }
    if (p->detail) {
        return (struct issue_text){
            .severity = "warning",
            .message =
                arena_printf(a, "Events of source %s are said to have happened in the future: %s this machine's clock.",
                             p->source, ahead),
            .hint = arena_printf(a,
                                 SET_BY_NTP "If it is right, the sender's clock is wrong: tell the sender. The events "
                                            "are taken all the same, and keep their order among themselves.",
                                 "this machine"),
        };
    }
    return (struct issue_text){
        .severity = "error",
        .message =
            arena_printf(a,
                         "Webhooks of source %s are refused: their signature is right, but the sender's clock is "
                         "%s this machine's, which is more than the tolerance.",
                         p->source, ahead),
        .hint = arena_printf(a,
                             SET_BY_NTP "If it is right, the sender's clock is wrong, or its requests are held up or "
                                        "repeated on the way: tell the sender. Until then signature.tolerance of "
                                        "sources.%s may be raised.",
                             "this machine", p->source),
    };
}

static struct issue_text api_key(const char *source, struct arena *a)
{
    return (struct issue_text){
        .severity = "error",
        .message =
            arena_printf(a,
                         "Popp's API does not accept the key of source %s: runs that were cut off or never ended "
                         "are not completed.",
                         source),
        .hint =
            arena_printf(a,
                         "Look in Popp's developer portal whether the key has expired or was revoked, put a new one "
                         "into sources.%s.api.key and reload; atsyncctl check tells whether it is accepted.",
                         source),
    };
}

static struct issue_text api_answer(const char *source, struct arena *a)
{
    return (struct issue_text){
        .severity = "warning",
        .message =
            arena_printf(a,
                         "Answers of Popp's API for source %s are not understood: runs that were cut off or never "
                         "ended are not completed.",
                         source),
        .hint = arena_printf(a,
                             "Compare an answer of the API with what popp-api.md of the documentation expects, fit "
                             "sources.%s.api.run_path or answer to it, and reload.",
                             source),
    };
}

static struct issue_text api_limit(const char *source, struct arena *a)
{
    return (struct issue_text){
        .severity = "warning",
        .message =
            arena_printf(a,
                         "The requests to Popp's API that source %s may make in a day are used up: other runs wait "
                         "for tomorrow (UTC).",
                         source),
        .hint = arena_printf(a,
                             "Raise sources.%s.api.per_day if Popp permits it; if many runs are cut off, subscribe to "
                             "WORKFLOW_NODE_COMPLETED in Popp.",
                             source),
    };
}

static struct issue_text api_unavailable(const char *source, struct arena *a)
{
    return (struct issue_text){
        .severity = "warning",
        .message =
            arena_printf(a,
                         "Popp's API for source %s does not answer properly: runs that were cut off or never ended "
                         "wait for it.",
                         source),
        .hint = arena_printf(a,
                             "See whether sources.%s.api.base_url is right and can be reached from here; it is tried "
                             "again by itself.",
                             source),
    };
}

/* Popp's API, which is asked for incomplete runs. */
static struct issue_text source_api(const struct problem *p, struct arena *a)
{
    static const struct {
        const char *detail;
        struct issue_text (*words)(const char *source, struct arena *a);
    } kinds[] = {{"key", api_key}, {"answer", api_answer}, {"limit", api_limit}, {"unavailable", api_unavailable}};
    struct issue_text text;
    size_t i = 0;

    while (i + 1 < ATS_COUNT(kinds) && !text_eq(kinds[i].detail, p->detail)) {
        i++;
    }
    text = kinds[i].words(or_none(p->source), a);
    if (p->sample && p->sample[0]) {
        text.message = arena_printf(a, "%s The last answer: %s.", text.message, without_stop(p->sample, a));
    }
    return text;
}

static const struct {
    const char *class;
    struct issue_text (*words)(const struct problem *p, struct arena *arena);
} classes[] = {
    {"dead_writes", dead_writes},
    {"unmapped", unmapped},
    {"identity", identity},
    {"identity_conflict", identity_conflict},
    {"truncated", truncated},
    {"run_conflict", run_conflict},
    {"too_large", too_large},
    {"connector_paused", connector_paused},
    {"connector_held", connector_held},
    {"throttled", throttled},
    {"ats_away", ats_away},
    {"unseen_slug", unseen_slug},
    {"signatures", signatures},
    {"clock_skew", clock_skew},
    {"source_api", source_api},
};

struct issue_text issue_words(const struct problem *p, struct arena *arena)
{
    struct issue_text text = {.severity = "error", .message = p->class, .hint = ""};

    for (size_t i = 0; i < ATS_COUNT(classes); i++) {
        if (strcmp(classes[i].class, p->class) == 0) {
            text = classes[i].words(p, arena);
        }
    }
    text.scope = arena_printf(arena, "%s/%s/%s/%s", p->source ? p->source : "", p->connector ? p->connector : "",
                              p->workflow ? p->workflow : "", p->detail ? p->detail : "");
    if (p->kind) {
        text.scope = arena_printf(arena, "%s/%s/%s", text.scope, p->kind, p->what ? p->what : "");
    }
    return text;
}

const char *issue_class(size_t number)
{
    return number < ATS_COUNT(classes) ? classes[number].class : NULL;
}
