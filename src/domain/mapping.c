#include "domain/mapping.h"

#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"

static const char *const moment_names[] = {
    [MOMENT_CONTACT_RESOLVED] = "contact_resolved",
    [MOMENT_CONTACT_SKIPPED] = "contact_skipped",
    [MOMENT_CONTACT_FAILED] = "contact_failed",
    [MOMENT_STARTED] = "started",
    [MOMENT_NODE] = "node",
    [MOMENT_COMPLETED] = "completed",
    [MOMENT_OPTED_OUT] = "opted_out",
    [MOMENT_DELIVERY_FAILED] = "delivery_failed",
    [MOMENT_CANCELLED] = "cancelled",
    [MOMENT_FAILED] = "failed",
    [MOMENT_FINISHED] = "finished",
};

/* How a conversation ended: WorkflowOutreachOutcome of the sender's workflow events page. */
static const char *const statuses[] = {
    "PASSED_CRITERIA", "FAILED_CRITERIA", "COMPLETED", "NOT_INTERESTED", "OPTED_OUT", "DELIVERY_FAILED",
};

/* errorCode and errorClass of WORKFLOW_RUN_FAILED, the same page. */
static const char *const failures[] = {
    "SYSTEM",          "DATA",           "EXECUTOR_TIMEOUT", "INVALID_NODE_CONFIG", "DOWNSTREAM_SERVICE_ERROR",
    "EXECUTOR_FAILED", "SYSTEM_FAILURE", "UNKNOWN",
};

static const char *const member_names[ANSWER_MEMBER_COUNT] = {
    [ANSWER_TEXT] = "answer",
    [ANSWER_STATE] = "answerState",
    [ANSWER_TRAFFIC_LIGHT] = "trafficLight",
    [ANSWER_OUTCOME] = "outcome",
    [ANSWER_SCORE] = "score",
    [ANSWER_DOCUMENT_S3_KEY] = "documentS3Key",
    [ANSWER_DOCUMENT_TWILIO_MEDIA_SID] = "documentTwilioMediaSid",
    [ANSWER_CLASSIFIED_DOCUMENT_TYPE] = "classifiedDocumentType",
};

static bool find_name(const char *name, const char *const *names, size_t count, size_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (text_eq(names[i], name)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool is_constant_name(const char *s)
{
    if (*s < 'A' || *s > 'Z')
        return false;
    for (; *s != '\0'; s++) {
        if (!(*s >= 'A' && *s <= 'Z') && !(*s >= '0' && *s <= '9') && *s != '_')
            return false;
    }
    return true;
}

/* What may stand behind the slash. The sender may add values, so an unknown one passes unless it looks like a slip. */
static int check_qualifier(const char *text, const char *qualifier, const char *const *names, size_t count,
                           const char *what, struct errmsg *err)
{
    size_t index;

    if (find_name(qualifier, names, count, &index))
        return ST_OK;
    const char *meant = suggest(qualifier, names, count);
    if (meant != NULL)
        return err_set(err, ST_INVALID, "no %s \"%.*s\" in \"%.*s\", did you mean \"%s\"?", what, TEXT_ECHO(qualifier),
                       TEXT_ECHO(text), meant);
    if (!is_constant_name(qualifier))
        return err_set(err, ST_INVALID, "\"%.*s\" in \"%.*s\" is not a %s: these are written in capitals, as %s",
                       TEXT_ECHO(qualifier), TEXT_ECHO(text), what, names[0]);
    return ST_OK;
}

static int parse_node(const char *text, const char *rest, struct condition *ret, struct errmsg *err)
{
    const char *slash = rest == NULL ? NULL : strchr(rest, '/');

    if (rest == NULL || *rest == '\0' || slash == rest)
        return err_set(err, ST_INVALID, "\"%.*s\" names no node: write node/<id> or node/<id>/<STATUS>",
                       TEXT_ECHO(text));
    if (slash != NULL && strchr(slash + 1, '/') != NULL)
        return err_set(err, ST_INVALID, "\"%.*s\" has too many parts: write node/<id> or node/<id>/<STATUS>",
                       TEXT_ECHO(text));
    if (slash != NULL) {
        int st = check_qualifier(text, slash + 1, statuses, ATS_COUNT(statuses), "status", err);
        if (st != ST_OK)
            return st;
    }
    *ret = (struct condition){
        .moment = MOMENT_NODE,
        .node_id = slash != NULL ? mem_strndup(rest, (size_t)(slash - rest)) : mem_strdup(rest),
        .qualifier = slash != NULL ? mem_strdup(slash + 1) : NULL,
    };
    return ST_OK;
}

int condition_parse(const char *text, struct condition *ret, struct errmsg *err)
{
    const char *slash = strchr(text, '/');
    const char *rest = slash != NULL ? slash + 1 : NULL;
    char *name = slash != NULL ? mem_strndup(text, (size_t)(slash - text)) : mem_strdup(text);
    size_t index = 0;
    enum moment moment;
    int st = ST_OK;

    if (!find_name(name, moment_names, ATS_COUNT(moment_names), &index)) {
        const char *meant = suggest(name, moment_names, ATS_COUNT(moment_names));
        if (meant != NULL)
            st = err_set(err, ST_INVALID, "unknown condition \"%.*s\", did you mean \"%s\"?", TEXT_ECHO(text), meant);
        else
            st = err_set(err, ST_INVALID,
                         "unknown condition \"%.*s\"; possible are contact_resolved, contact_skipped, contact_failed, "
                         "started, node/<id>[/<STATUS>], completed[/<STATUS>], opted_out, delivery_failed, cancelled, "
                         "failed[/<CODE or CLASS>], finished",
                         TEXT_ECHO(text));
        goto out;
    }

    moment = (enum moment)index;
    if (moment == MOMENT_NODE) {
        st = parse_node(text, rest, ret, err);
        goto out;
    }
    if (rest != NULL && moment == MOMENT_COMPLETED)
        st = check_qualifier(text, rest, statuses, ATS_COUNT(statuses), "status", err);
    else if (rest != NULL && moment == MOMENT_FAILED)
        st = check_qualifier(text, rest, failures, ATS_COUNT(failures), "error code or class", err);
    else if (rest != NULL)
        st = err_set(err, ST_INVALID, "\"%.*s\": nothing can follow \"%s\"; only node, completed and failed take a /",
                     TEXT_ECHO(text), name);
    if (st == ST_OK)
        *ret = (struct condition){.moment = moment, .qualifier = mem_strdup(rest)};
out:
    mem_free(name);
    return st;
}

void condition_clear(struct condition *c)
{
    mem_free(c->node_id);
    mem_free(c->qualifier);
    c->node_id = NULL;
    c->qualifier = NULL;
}

const char *answer_member_name(enum answer_member m)
{
    return member_names[m];
}

bool answer_member_parse(const char *name, enum answer_member *ret)
{
    size_t index;

    if (!find_name(name, member_names, ANSWER_MEMBER_COUNT, &index))
        return false;
    *ret = (enum answer_member)index;
    return true;
}

/* "nmc-pin.scor" is far more often a slip than a slug with such an end; who means it writes the member out. */
static const char *misspelt_member(const char *tail)
{
    const char *meant = suggest(tail, member_names, ANSWER_MEMBER_COUNT);

    if (meant == NULL || strlen(tail) < 4)
        return NULL;
    return text_ieq(meant, tail) || text_distance(meant, tail) == 1 ? meant : NULL;
}

int field_key_parse(const char *text, struct field_map *ret, struct errmsg *err)
{
    const char *slash = strchr(text, '/');
    const char *slug = slash != NULL ? slash + 1 : text;
    const char *dot = strrchr(slug, '.');
    size_t slug_len = strlen(slug);
    enum answer_member member = ANSWER_TEXT;

    if (slash == text || (slash != NULL && strchr(slug, '/') != NULL))
        return err_set(err, ST_INVALID, "\"%.*s\" is not the key of an answer: write SLUG or NODE/SLUG",
                       TEXT_ECHO(text));
    if (dot != NULL) {
        const char *meant;
        if (answer_member_parse(dot + 1, &member))
            slug_len = (size_t)(dot - slug);
        else if ((meant = misspelt_member(dot + 1)) != NULL)
            return err_set(err, ST_INVALID,
                           "an answer has no member \"%s\", did you mean \"%s\"? If it belongs to the slug, write "
                           "\"%.*s.answer\"",
                           dot + 1, meant, TEXT_ECHO(text));
    }
    if (slug_len == 0)
        return err_set(err, ST_INVALID, "\"%.*s\" names no slug: write SLUG or NODE/SLUG", TEXT_ECHO(text));
    ret->node_id = slash != NULL ? mem_strndup(text, (size_t)(slash - text)) : NULL;
    ret->slug = mem_strndup(slug, slug_len);
    ret->member = member;
    return ST_OK;
}

const struct workflow_map *mapping_find(const struct mapping *m, const char *external_id)
{
    const struct workflow_map *fallback = NULL;

    for (size_t i = 0; i < m->count; i++) {
        const struct workflow_map *w = &m->workflows[i];
        /* an event that calls its workflow "*" gets the default either way */
        if (external_id != NULL && text_eq(w->external_id, external_id))
            return w;
        if (text_eq(w->external_id, "*"))
            fallback = w;
    }
    return fallback;
}
