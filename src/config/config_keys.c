#include "config/config_keys.h"

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
    NAME_BYTES = 256,
    TEXT_BYTES = 4096,
    NOTE_BYTES = 64 * 1024,
    KIB = 1024,
    MIB = 1024 * KIB,
};
#define DAY ((int64_t)24 * HOUR)

/* One key is one paragraph; with one line for each member the table would be six pages long. */
/* clang-format off */
#define END {.name = NULL}
#define AT(member) .offset = offsetof(OBJECT, member)
#define ENTRIES(array, number, item, name_member, line_offset) \
    .entries = {offsetof(OBJECT, array), offsetof(OBJECT, number), sizeof(item), offsetof(item, name_member), \
                line_offset}

/* ---- workflows.ID.on.CONDITION */
#define OBJECT struct field_constant
static const struct key constant_entry = {
    .name = "FIELD", .type = &type_constant, AT(value_json), .max = TEXT_BYTES,
    .help = "Writes this constant into a field of the ATS: a text, a number or true or false.",
};
#undef OBJECT

#define OBJECT struct rule
static const struct key assessment_keys[] = {
    {.name = "score", .type = &type_score, AT(assessment), .required = true,
     .help = "Where the score of the assessment comes from: mean (of all answers that have one), SLUG or NODE/SLUG."},
    END,
};
static const struct key rule_keys[] = {
    {.name = "stage", .type = &type_text, AT(stage), .min = 1, .max = NAME_BYTES,
     .help = "Moves the candidate to this stage of the job."},
    {.name = "only_from", .type = &type_texts, AT(only_from), .offset2 = offsetof(OBJECT, only_from_count), .min = 1,
     .max = NAME_BYTES,
     .help = "Moves only a candidate who now stands in one of these stages, or would if the ATS had not been away while events led the run there; none means in no stage of this job yet. Who stands elsewhere is skipped, until an event that comes later, or the mapping, says that more stages lead there."},
    {.name = "reject", .type = &type_text, AT(reject), .min = 1, .max = NAME_BYTES,
     .help = "Rejects the candidate for the job with this reason."},
    {.name = "fields", .entry = &constant_entry,
     ENTRIES(fields, field_count, struct field_constant, field, offsetof(struct field_constant, line))},
    {.name = "tags", .type = &type_texts, AT(tags), .offset2 = offsetof(OBJECT, tag_count), .min = 1,
     .max = NAME_BYTES, .help = "Adds these tags to the candidate."},
    {.name = "note", .type = &type_text, AT(note), .min = 1, .max = NOTE_BYTES,
     .help = "Writes a note once for each run: summary, or a template of your own."},
    {.name = "assessment", .type = &type_assessment, .children = assessment_keys, AT(assessment),
     .help = "Writes the result of the screening as an assessment; mean is short for {score: mean}."},
    END,
};
static const struct key rule_entry = {
    .name = "CONDITION", .children = rule_keys, .check = check_rule, .release = release_rule,
};
#undef OBJECT

/* ---- workflows.ID.fields.KEY */
#define OBJECT struct option_pair
static const struct key option_entry = {
    .name = "VALUE", .type = &type_constant, AT(to_json), .max = TEXT_BYTES,
    .help = "Writes this instead of VALUE; with a map, values that it does not name write nothing.",
};
#undef OBJECT

static const struct key_choice member_choices[] = {
    {"answer", ANSWER_TEXT},
    {"answerState", ANSWER_STATE},
    {"trafficLight", ANSWER_TRAFFIC_LIGHT},
    {"outcome", ANSWER_OUTCOME},
    {"score", ANSWER_SCORE},
    {"documentS3Key", ANSWER_DOCUMENT_S3_KEY},
    {"documentTwilioMediaSid", ANSWER_DOCUMENT_TWILIO_MEDIA_SID},
    {"classifiedDocumentType", ANSWER_CLASSIFIED_DOCUMENT_TYPE},
    {NULL, 0},
};
/* "as is" is what happens without the key, so it has no name */
static const struct key_choice value_type_choices[] = {
    {"text", VALUE_TEXT}, {"number", VALUE_NUMBER}, {"boolean", VALUE_BOOLEAN}, {"date", VALUE_DATE}, {NULL, 0},
};

#define OBJECT struct field_map
static const struct key field_keys[] = {
    {.name = "field", .type = &type_text, AT(field), .min = 1, .max = NAME_BYTES, .required = true,
     .help = "The field of the ATS that is written."},
    {.name = "from", .type = &type_choice, AT(member), .choices = member_choices,
     .help = "The member of the answer: answer, answerState, trafficLight, outcome, score, documentS3Key, "
             "documentTwilioMediaSid or classifiedDocumentType; answer unless the key itself names one."},
    {.name = "type", .type = &type_choice, AT(type), .choices = value_type_choices,
     .help = "Turns the value into a text, number, boolean or date; without it the value is written as it is."},
    {.name = "map", .entry = &option_entry,
     ENTRIES(options, option_count, struct option_pair, from, NO_LINE)},
    {.name = "clear", .type = &type_bool, AT(clear), .fallback = "false",
     .help = "Erases the field if the question has no answer."},
    END,
};
static const struct key field_entry = {
    .name = "KEY", .type = &type_text, .children = field_keys, AT(field), .min = 1, .max = NAME_BYTES,
    .help = "Writes an answer into this field of the ATS; KEY is SLUG, NODE/SLUG, SLUG.MEMBER or NODE/SLUG.MEMBER.",
    .check = check_field, .release = release_field,
};
#undef OBJECT

/* ---- workflows */
#define OBJECT struct workflow_map
static const struct key workflow_keys[] = {
    {.name = "connector", .type = &type_text, AT(connector), .min = 1, .max = NAME_BYTES, .required = true,
     .help = "The connector, by its name in connectors, that writes for this workflow."},
    {.name = "job", .type = &type_text, AT(job), .min = 1, .max = NAME_BYTES,
     .help = "The job of the ATS that the workflow screens for."},
    {.name = "on", .entry = &rule_entry,
     ENTRIES(rules, rule_count, struct rule, condition_text, offsetof(struct rule, line))},
    {.name = "fields", .entry = &field_entry,
     ENTRIES(fields, field_count, struct field_map, key_text, offsetof(struct field_map, line))},
    {.name = "live", .type = &type_bool, AT(live), .fallback = "false",
     .help = "Writes fields also while the run goes on, from node events, instead of at its end only."},
    END,
};
static const struct key workflow_entry = {.name = "ID", .children = workflow_keys};
#undef OBJECT

/* ---- connectors */
#define OBJECT struct named_value
static const struct key credential_entry = {
    .name = "CREDENTIAL", .type = &type_secret, AT(value), .min = 1,
    .help = "A credential that the type asks for.",
};
static const struct key setting_entry = {
    .name = "SETTING", .type = &type_scalar, AT(value), .max = TEXT_BYTES,
    .help = "A setting that the type offers.",
};
#undef OBJECT

static const struct key_choice uncertain_choices[] = {{"repeat", 0}, {"hold", 1}, {NULL, 0}};

#define OBJECT struct connector_config
static const struct key retry_keys[] = {
    {.name = "base", .type = &type_duration, AT(retry_base_ms), .min = 10, .max = HOUR, .fallback = "5s",
     .help = "The first pause after a failure; it doubles with each further one."},
    {.name = "cap", .type = &type_duration, AT(retry_cap_ms), .min = 10, .max = DAY, .fallback = "15m",
     .help = "The longest pause between two attempts."},
    {.name = "max_age", .type = &type_duration, AT(retry_max_age_ms), .min = SECOND, .max = 365 * DAY,
     .fallback = "3d", .help = "After this time without success a write is given up and shown as dead."},
    END,
};
static const struct key connector_tls_keys[] = {
    {.name = "ca", .type = &type_file, AT(ca_file), .min = 1, .max = TEXT_BYTES,
     .help = "PEM file with the authorities to trust instead of the system's."},
    {.name = "certificate", .type = &type_file, AT(client_certificate_file), .min = 1, .max = TEXT_BYTES,
     .help = "PEM file with a client certificate; needs key."},
    {.name = "key", .type = &type_key_file, AT(client_key_file), .min = 1, .max = TEXT_BYTES,
     .help = "PEM file with the key of the client certificate."},
    END,
};
static const struct key connector_keys[] = {
    {.name = "type", .type = &type_text, AT(type), .min = 1, .max = 64, .required = true,
     .help = "The kind of ATS: the name of a file connectors/TYPE.jq without its ending."},
    {.name = "base_url", .type = &type_url, AT(base_url), .min = 1, .max = TEXT_BYTES,
     .help = "Overrides the address of the API that the type knows; required by types that know none."},
    {.name = "credentials", .entry = &credential_entry,
     ENTRIES(credentials, credential_count, struct named_value, name, offsetof(struct named_value, line))},
    {.name = "settings", .entry = &setting_entry,
     ENTRIES(settings, setting_count, struct named_value, name, offsetof(struct named_value, line))},
    {.name = "rate_limit", .type = &type_rate, AT(rate_count), .offset2 = offsetof(OBJECT, rate_per_ms),
     .min = 1, .max = 1000000,
     .help = "The most requests in a time, of all daemons together; without it what the vendor of the type allows."},
    {.name = "concurrency", .type = &type_count, AT(concurrency), .min = 1, .max = 1000,
     .help = "The most requests under way at once; without it what the type says."},
    {.name = "timeout", .type = &type_duration, AT(timeout_ms), .min = 10, .max = (int64_t)10 * MINUTE,
     .help = "How long one request may take; without it what the type says."},
    {.name = "retry", .children = retry_keys, .check = check_retry},
    {.name = "on_uncertain", .type = &type_switch, AT(hold_uncertain), .choices = uncertain_choices,
     .fallback = "repeat",
     .help = "What becomes of a note whose request was lost on the way and which the ATS cannot be asked for: repeat "
             "writes it again, hold keeps it for an operator."},
    {.name = "tls", .children = connector_tls_keys, .check = check_connector_tls},
    {.name = "proxy", .type = &type_proxy, AT(proxy), .min = 1, .max = TEXT_BYTES,
     .help = "URL of a proxy (http, https, socks5, socks5h); it also resolves names, so the guard against private "
             "addresses does not see them."},
    {.name = "allow_private_addresses", .type = &type_bool, AT(allow_private_addresses), .fallback = "false",
     .help = "Lets base_url resolve to loopback, link-local and private addresses."},
    END,
};
static const struct key connector_entry = {.name = "NAME", .children = connector_keys, .check = check_connector};
#undef OBJECT

/* ---- sources */
static const struct key_choice scheme_choices[] = {
    {"body", SIGNATURE_BODY},
    {"standard-webhooks", SIGNATURE_STANDARD_WEBHOOKS},
    {"timestamped", SIGNATURE_TIMESTAMPED},
    {NULL, 0},
};
static const struct key_choice encoding_choices[] = {{"hex", SIGNATURE_HEX}, {"base64", SIGNATURE_BASE64}, {NULL, 0}};

#define OBJECT struct source_config
static const struct key signature_keys[] = {
    {.name = "scheme", .type = &type_choice, AT(signature.scheme), .choices = scheme_choices, .fallback = "body",
     .help = "What is signed and how: body, standard-webhooks or timestamped."},
    {.name = "header", .type = &type_text, AT(signature.header), .min = 1, .max = NAME_BYTES,
     .fallback = "x-signature",
     .help = "The header with the signature; standard-webhooks has fixed names (webhook-signature and others)."},
    {.name = "encoding", .type = &type_choice, AT(signature.encoding), .choices = encoding_choices, .fallback = "hex",
     .help = "How the signature is written, hex or base64 (scheme body only)."},
    {.name = "prefix", .type = &type_text, AT(signature.prefix), .min = 0, .max = NAME_BYTES, .fallback = "",
     .help = "What stands before the signature in the header, such as sha256= (scheme body only)."},
    {.name = "tolerance", .type = &type_duration, AT(signature.tolerance_ms), .min = SECOND, .max = DAY,
     .fallback = "5m",
     .help = "How far the time of a request may be off (schemes standard-webhooks and timestamped only)."},
    END,
};
static const struct key source_api_keys[] = {
    {.name = "key", .type = &type_secret, AT(api.key), .min = 1, .required = true,
     .help = "An API key of the sender, with which runs that were cut off or never ended are asked for; without it its "
             "API is never called."},
    {.name = "base_url", .type = &type_url, AT(api.base_url), .min = 1, .max = TEXT_BYTES,
     .fallback = "https://api.joinpopp.com/v1", .help = "Where the API is; requests go to this host and no other."},
    {.name = "organization", .type = &type_text, AT(api.organization), .min = 1, .max = NAME_BYTES,
     .help = "The organization that the key belongs to; without it the only one of organizations."},
    {.name = "run_path", .type = &type_text, AT(api.run_path), .min = 1, .max = TEXT_BYTES,
     .fallback = "/workflow-runs/{run_id}",
     .help = "What is asked for below base_url to get a run; {run_id} and {workflow_id} are put in."},
    {.name = "probe_path", .type = &type_text, AT(api.probe_path), .min = 1, .max = TEXT_BYTES,
     .fallback = "/candidate-profiles/by-external-id/atsyncd-probe",
     .help = "What atsyncctl check asks for to see whether the key is accepted; 404 is a good answer."},
    {.name = "answer", .type = &type_text, AT(api.answer), .min = 1, .max = NOTE_BYTES,
     .help = "A jq program that makes a run with status, outcome, completedAt and nodes out of the answer, should it "
             "not look so by itself."},
    {.name = "after", .type = &type_duration, AT(api.after_ms), .min = SECOND, .max = 30 * DAY, .fallback = "1h",
     .help = "How long a run that has not ended must have been silent before it is asked for the first time."},
    {.name = "rate_limit", .type = &type_rate, AT(api.rate_count), .offset2 = offsetof(OBJECT, api.rate_per_ms),
     .min = 1, .max = 1000000, .fallback = "1/s", .help = "The most requests of this daemon in a time."},
    {.name = "per_day", .type = &type_count, AT(api.per_day), .min = 1, .max = 10000000, .fallback = "1000",
     .help = "The most requests in a day (UTC), of all daemons together."},
    {.name = "timeout", .type = &type_duration, AT(api.timeout_ms), .min = 10, .max = (int64_t)10 * MINUTE, .fallback = "30s",
     .help = "How long one request may take."},
    {.name = "proxy", .type = &type_proxy, AT(api.proxy), .min = 1, .max = TEXT_BYTES,
     .help = "URL of a proxy (http, https, socks5, socks5h)."},
    END,
};
static const struct key source_keys[] = {
    {.name = "organizations", .type = &type_texts, AT(organizations), .offset2 = offsetof(OBJECT, organization_count),
     .min = 1, .max = NAME_BYTES,
     .help = "The organizations whose events are taken, others are refused with 403; without it any."},
    {.name = "signing_secrets", .type = &type_secrets, AT(secrets), .offset2 = offsetof(OBJECT, secret_count),
     .min = 1, .required = true,
     .help = "The secrets of the sender; any of them is accepted, so that one can be replaced without a lost event."},
    {.name = "signature", .children = signature_keys, .check = check_signature},
    {.name = "api", .children = source_api_keys, .check = check_source_api},
    END,
};
static const struct key source_entry = {.name = "NAME", .children = source_keys, .check = check_source};
#undef OBJECT

/* ---- the daemon itself */
static const struct key_choice level_choices[] = {
    {"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR}, {NULL, 0},
};
static const struct key_choice format_choices[] = {{"text", LOG_TEXT}, {"json", LOG_JSON}, {NULL, 0}};

#define OBJECT struct config
static const struct key receiver_tls_keys[] = {
    {.name = "certificate", .type = &type_pem, AT(receiver.tls_certificate_file),
     .offset2 = offsetof(OBJECT, receiver.tls_certificate_pem), .min = 1, .max = TEXT_BYTES,
     .help = "PEM file with the certificate and its chain; needs key. The file is read again at a reload."},
    {.name = "key", .type = &type_pem_key, AT(receiver.tls_key_file),
     .offset2 = offsetof(OBJECT, receiver.tls_key_pem), .min = 1, .max = TEXT_BYTES,
     .help = "PEM file with the key of the certificate, closed to others. The file is read again at a reload."},
    END,
};
static const struct key receiver_keys[] = {
    {.name = "listen", .type = &type_address, AT(receiver.listen), .fallback = "127.0.0.1:8480", .fixed = true,
     .help = "Where webhooks are received."},
    {.name = "tls", .children = receiver_tls_keys, .check = check_receiver_tls},
    {.name = "max_body", .type = &type_size, AT(receiver.max_body_bytes), .min = KIB, .max = (int64_t)64 * MIB,
     .fallback = "4MiB", .help = "Larger events are refused with 413."},
    {.name = "max_body_total", .type = &type_size, AT(receiver.max_body_total_bytes), .min = KIB,
     .max = INT64_C(65536) * MIB,
     .fallback = "64MiB", .help = "The most memory for the bodies of all requests together, at least max_body."},
    {.name = "max_connections", .type = &type_count, AT(receiver.max_connections), .min = 1, .max = 100000,
     .fallback = "1000", .help = "The most connections at once."},
    {.name = "max_connections_per_address", .type = &type_count, AT(receiver.max_connections_per_address), .min = 0,
     .max = 100000, .fallback = "0",
     .help = "The most connections of one address at once; 0 is no limit, as behind a proxy."},
    {.name = "request_timeout", .type = &type_duration, AT(receiver.request_timeout_ms), .min = SECOND,
     .max = (int64_t)10 * MINUTE, .fallback = "15s",
     .help = "How long a request may take to arrive and a connection may be idle."},
    {.name = "queue_max_events", .type = &type_count, AT(receiver.queue_max_events), .min = 1, .max = 1000000,
     .fallback = "10000",
     .help = "Events that may wait for the database before 503 is answered."},
    END,
};
static const struct key admin_keys[] = {
    {.name = "listen", .type = &type_address_or_none, AT(admin.listen), .fallback = "127.0.0.1:8481", .fixed = true,
     .help = "Where health, metrics and the status page are; none switches them off."},
    {.name = "token", .type = &type_secret, AT(admin.token), .min = 8,
     .help = "Asked for as a bearer token, and by the page's sign-in form; required if listen is not a loopback "
             "address."},
    {.name = "show_personal", .type = &type_bool, AT(admin.show_personal), .fallback = "false",
     .help = "Lets the status page show a candidate's answers, e-mail address, phone number and the values of writes, "
             "each time after a click."},
    END,
};
static const struct key database_keys[] = {
    {.name = "conninfo", .type = &type_conninfo, AT(database.conninfo), .min = 1, .max = TEXT_BYTES,
     .fallback = "dbname=atsync", .fixed = true,
     .help = "How to reach PostgreSQL: anything libpq takes, several hosts included."},
    {.name = "listen_conninfo", .type = &type_conninfo, AT(database.listen_conninfo), .min = 1, .max = TEXT_BYTES,
     .help = "How to reach PostgreSQL directly, for wake-ups by other daemons, when conninfo goes through a pooler; "
             "without it a daemon behind a pooler finds their events by polling."},
    {.name = "encryption_key", .type = &type_secret_or_secrets, AT(database.encryption_keys),
     .offset2 = offsetof(OBJECT, database.encryption_key_count), .min = 16,
     .help = "Encrypts access tokens that are stored in the database; a text of 16 characters or more, or a list of "
             "them: the first one encrypts, all decrypt, so that it can be changed."},
    {.name = "statement_timeout", .type = &type_duration, AT(database.statement_timeout_ms), .min = 100, .max = HOUR,
     .fallback = "30s", .help = "After this time a statement is cancelled."},
    END,
};
static const struct key delivery_keys[] = {
    {.name = "enabled", .type = &type_bool, AT(delivery.enabled), .fallback = "true", .fixed = true,
     .help = "Whether this daemon writes to the ATS; false leaves that to others."},
    {.name = "lease", .type = &type_duration, AT(delivery.lease_ms), .min = SECOND, .max = HOUR, .fallback = "60s",
     .fixed = true, .help = "How long a candidate stays with a daemon that has died before another takes over."},
    {.name = "poll", .type = &type_duration, AT(delivery.poll_ms), .min = 10, .max = MINUTE, .fallback = "1s",
     .help = "How often work is looked for besides being woken."},
    {.name = "slots", .type = &type_count, AT(delivery.slots), .min = 1, .max = 10000, .fallback = "160",
     .help = "Candidates in work at once, all connectors together; of each worker."},
    {.name = "workers", .type = &type_count, AT(delivery.workers), .min = 1, .max = DELIVERY_WORKERS_MAX, .fallback = "1",
     .fixed = true,
     .help = "How many times this daemon plans, sends and records side by side, each with threads and database "
             "connections of its own: more than one pays on machines with more than two cores."},
    {.name = "max_history", .type = &type_size, AT(delivery.max_history_bytes), .min = (int64_t)64 * KIB,
     .max = (int64_t)256 * MIB, .fallback = "16MiB",
     .help = "The most that the stored events of one candidate may have together, each counted 1 KiB more than its body "
             "has; or twice receiver.max_body, if that is more. A candidate with more waits, and an issue says so. All "
             "candidates in work take some fifteen times this of memory at most, for each worker."},
    END,
};
static const struct key retention_keys[] = {
    {.name = "events", .type = &type_duration, AT(retention_events_ms), .min = HOUR, .max = 36500 * DAY,
     .fallback = "400d",
     .help = "How long events and what was made of them (runs, answers, writes, contacts) are kept, and issues that are "
             "closed. A run goes as a whole, when its newest event is so old and its candidate has nothing to do; one "
             "that has not ended, or whose candidate has writes that could not be made, 90 days later."},
    {.name = "calls", .type = &type_duration, AT(retention_calls_ms), .min = HOUR, .max = 36500 * DAY,
     .fallback = "30d", .help = "How long the record of requests to the ATS is kept."},
    {.name = "ids", .type = &type_duration, AT(retention_ids_ms), .min = HOUR, .max = 36500 * DAY,
     .fallback = "1200d",
     .help = "How long the ids of events, and which run and candidate were done with them, are remembered: what is sent again "
             "so late is a duplicate and changes nothing. At least as long as events."},
    END,
};
static const struct key log_keys[] = {
    {.name = "level", .type = &type_choice, AT(log_level), .choices = level_choices, .fallback = "info",
     .help = "The least severe lines that are written: debug, info, warn or error."},
    {.name = "format", .type = &type_choice, AT(log_format), .choices = format_choices, .fallback = "text",
     .help = "text (key=value) or json, one line for each event."},
    END,
};

const struct key config_keys[] = {
    {.name = "instance", .type = &type_instance, AT(instance), .min = 1, .max = 64, .fallback = "auto", .fixed = true,
     .help = "The name of this daemon among several on one database; auto is the host name."},
    {.name = "receiver", .children = receiver_keys, .check = check_receiver},
    {.name = "admin", .children = admin_keys, .check = check_admin},
    {.name = "database", .children = database_keys},
    {.name = "sources", .entry = &source_entry,
     ENTRIES(sources, source_count, struct source_config, name, offsetof(struct source_config, line))},
    {.name = "connectors", .entry = &connector_entry,
     ENTRIES(connectors, connector_count, struct connector_config, name, offsetof(struct connector_config, line))},
    {.name = "workflows", .entry = &workflow_entry,
     ENTRIES(mapping.workflows, mapping.count, struct workflow_map, external_id, offsetof(struct workflow_map, line))},
    {.name = "delivery", .children = delivery_keys, .check = check_delivery},
    {.name = "retention", .children = retention_keys},
    {.name = "log", .children = log_keys},
    END,
};
#undef OBJECT

/* ---- listing */
static void each(const struct key *key, const char *above, void (*fn)(void *ctx, const struct config_key_info *info),
                 void *ctx)
{
    struct buf path;

    buf_init(&path, 1024);
    buf_printf(&path, "%s%s%s", above, *above != '\0' ? "." : "", key->name);
    if (key->type != NULL) {
        struct config_key_info info = {
            .path = buf_text(&path),
            .type = key->type->name,
            .fallback = key->fallback,
            .required = key->required,
            .reloadable = !key->fixed,
            .help = key->help,
        };
        fn(ctx, &info);
    }
    if (key->entry != NULL)
        each(key->entry, buf_text(&path), fn, ctx);
    for (const struct key *child = key->children; child != NULL && child->name != NULL; child++)
        each(child, buf_text(&path), fn, ctx);
    buf_free(&path);
}

void config_each_key(void (*fn)(void *ctx, const struct config_key_info *info), void *ctx)
{
    for (const struct key *key = config_keys; key->name != NULL; key++)
        each(key, "", fn, ctx);
}
