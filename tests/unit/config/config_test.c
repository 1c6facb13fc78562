#include "config/config.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "lib/yaml.h"

#define MINIMAL_CONNECTOR "connectors: {ats: {type: rest}}\n"
#define A25 "aaaaaaaaaaaaaaaaaaaaaaaaa"
#define A75 A25 A25 A25

static char dir[] = "/tmp/atsyncd-config-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static char *path_of(const char *name)
{
    return mem_printf("%s/%s", dir, name);
}

static char *write_file(const char *name, const char *text, mode_t mode)
{
    char *path = path_of(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
    return path;
}

static const char *const made[] = {"c.conf",          "popp.secret",    "popp-api.key",  "other.secret",
                                   "admin.token",     "encryption.key", "greenhouse.id", "greenhouse.secret",
                                   "certificate.pem", "key.pem",        "ca.pem",        "client.pem",
                                   "client.key"};

static int remove_dir(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(made); i++) {
        char *path = path_of(made[i]);
        (void)unlink(path);
        mem_free(path);
    }
    return rmdir(dir);
}

static struct config *parse(const char *text)
{
    struct config *c = NULL;
    struct config_problems problems = {0};

    if (config_parse("t.conf", text, strlen(text), &c, &problems) != ST_OK) {
        struct buf all;
        buf_init(&all, 65536);
        config_problems_print(&problems, &all);
        fail_msg("%s", buf_text(&all));
    }
    assert_int_equal(problems.count, 0);
    return c;
}

/* The problems of text as they are printed; caller: mem_free. */
static char *problems_of(const char *text)
{
    struct config *c = NULL;
    struct config_problems problems = {0};
    struct buf out;

    int st = config_parse("t.conf", text, strlen(text), &c, &problems);
    buf_init(&out, 65536);
    config_problems_print(&problems, &out);
    if (st == ST_OK) {
        assert_int_equal(problems.count, 0);
        config_unref(c);
    } else {
        assert_int_equal(st, ST_INVALID);
        assert_null(c);
        assert_true(problems.count > 0);
    }
    config_problems_clear(&problems);
    return buf_take(&out);
}

/* ---- values */
static void test_an_empty_file_has_the_defaults(void **state)
{
    char host[256] = "";
    struct config *c = parse("");

    (void)state;
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    assert_string_equal(c->path, "t.conf");
    assert_string_equal(c->instance, host);
    assert_string_equal(c->receiver.listen, "127.0.0.1:8480");
    assert_null(c->receiver.tls_certificate_file);
    assert_null(c->receiver.tls_key_pem);
    assert_int_equal(c->receiver.max_body_bytes, 4 * 1024 * 1024);
    assert_int_equal(c->receiver.max_body_total_bytes, 64 * 1024 * 1024);
    assert_int_equal(c->receiver.max_connections, 1000);
    assert_int_equal(c->receiver.max_connections_per_address, 0);
    assert_int_equal(c->receiver.request_timeout_ms, 15000);
    assert_int_equal(c->receiver.queue_max_events, 10000);
    assert_string_equal(c->admin.listen, "127.0.0.1:8481");
    assert_null(c->admin.token);
    assert_false(c->admin.show_personal);
    assert_string_equal(c->database.conninfo, "dbname=atsync");
    assert_int_equal(c->database.encryption_key_count, 0);
    assert_int_equal(c->database.statement_timeout_ms, 30000);
    assert_true(c->delivery.enabled);
    assert_int_equal(c->delivery.lease_ms, 60000);
    assert_int_equal(c->delivery.poll_ms, 1000);
    assert_int_equal(c->delivery.slots, 160);
    assert_int_equal(c->delivery.max_history_bytes, 16 << 20);
    assert_int_equal(config_max_history_bytes(c), 16 << 20);
    assert_int_equal(c->source_count, 0);
    assert_int_equal(c->connector_count, 0);
    assert_int_equal(c->mapping.count, 0);
    assert_int_equal(c->retention_events_ms, INT64_C(400) * 86400000);
    assert_int_equal(c->retention_calls_ms, INT64_C(30) * 86400000);
    assert_int_equal(c->retention_ids_ms, INT64_C(1200) * 86400000);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_int_equal(c->log_format, LOG_TEXT);
    config_unref(c);

    /* sections whose keys are all commented out */
    c = parse("receiver:\nsources:\nworkflows:\nlog: {}\n");
    assert_int_equal(c->receiver.max_connections, 1000);
    config_unref(c);
    config_unref(NULL);
}

static void test_values_of_the_daemon(void **state)
{
    struct config *c = parse("instance: node-1.example\n"
                             "receiver:\n"
                             "  listen: \"[::]:80\"\n"
                             "  max_body: 64KiB\n"
                             "  max_body_total: 1GiB\n"
                             "  max_connections: 7\n"
                             "  max_connections_per_address: 3\n"
                             "  request_timeout: 2m\n"
                             "  queue_max_events: 5\n"
                             "admin: {listen: none, show_personal: true}\n"
                             "database:\n"
                             "  conninfo: host=a,b dbname=x\n"
                             "  encryption_key: 0123456789abcdef\n"
                             "  statement_timeout: 100ms\n"
                             "delivery: {enabled: false, lease: 5s, poll: 20ms, slots: 8, max_history: 100KiB}\n"
                             "retention: {events: 30d, calls: 12h, ids: 60d}\n"
                             "log: {level: debug, format: json}\n");

    (void)state;
    assert_string_equal(c->instance, "node-1.example");
    assert_string_equal(c->receiver.listen, "[::]:80");
    assert_int_equal(c->receiver.max_body_bytes, 65536);
    assert_int_equal(c->receiver.max_body_total_bytes, 1 << 30);
    assert_int_equal(c->receiver.max_connections, 7);
    assert_int_equal(c->receiver.max_connections_per_address, 3);
    assert_int_equal(c->receiver.request_timeout_ms, 120000);
    assert_int_equal(c->receiver.queue_max_events, 5);
    assert_null(c->admin.listen);
    assert_true(c->admin.show_personal);
    assert_string_equal(c->database.conninfo, "host=a,b dbname=x");
    assert_int_equal(c->database.encryption_key_count, 1);
    assert_string_equal(c->database.encryption_keys[0], "0123456789abcdef");
    assert_int_equal(c->database.statement_timeout_ms, 100);
    assert_false(c->delivery.enabled);
    assert_int_equal(c->delivery.lease_ms, 5000);
    assert_int_equal(c->delivery.poll_ms, 20);
    assert_int_equal(c->delivery.slots, 8);
    assert_int_equal(c->delivery.max_history_bytes, 100 << 10);
    assert_int_equal(config_max_history_bytes(c), 128 << 10); /* two of the largest events */
    assert_int_equal(c->retention_events_ms, INT64_C(30) * 86400000);
    assert_int_equal(c->retention_calls_ms, 12 * 3600000);
    assert_int_equal(c->retention_ids_ms, INT64_C(60) * 86400000);
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->log_format, LOG_JSON);
    config_unref(c);
}

static void test_sources(void **state)
{
    struct config *c = parse("sources:\n"
                             "  popp:\n"
                             "    organizations: [org_1, org_2]\n"
                             "    signing_secrets: [one, two]\n"
                             "    signature: {header: x-popp, encoding: base64, prefix: \"sha256=\"}\n"
                             "  asking: {signing_secrets: [a], organizations: org_1, api: {key: k}}\n"
                             "  plain: {signing_secrets: [a]}\n"
                             "  standard: {signing_secrets: [whsec_c2VjcmV0], signature: {scheme: standard-webhooks}}\n"
                             "  stamped: {signing_secrets: [c], signature: {scheme: timestamped, tolerance: 30s}}\n"
                             /* what a scheme does anyway may be said */
                             "  said: {signing_secrets: [d], signature: {scheme: standard-webhooks, header: "
                             "Webhook-Signature, encoding: base64, prefix: \"\"}}\n"
                             "  told: {signing_secrets: [e], signature: {scheme: timestamped, encoding: hex, prefix: "
                             "\"\"}}\n");
    const struct source_config *s = config_source(c, "popp");

    (void)state;
    assert_int_equal(c->source_count, 7);
    assert_non_null(s);
    assert_int_equal(s->line, 2);
    assert_int_equal(s->organization_count, 2);
    assert_string_equal(s->organizations[1], "org_2");
    assert_int_equal(s->secret_count, 2);
    assert_int_equal(s->signature.secret_count, 2);
    assert_string_equal(s->signature.secrets[1], "two");
    assert_int_equal(s->signature.scheme, SIGNATURE_BODY);
    assert_string_equal(s->signature.header, "x-popp");
    assert_int_equal(s->signature.encoding, SIGNATURE_BASE64);
    assert_string_equal(s->signature.prefix, "sha256=");

    assert_null(s->api.key); /* without its section nothing is ever asked */
    assert_null(config_api_organization(s));

    s = config_source(c, "asking");
    assert_string_equal(s->api.key, "k");
    assert_string_equal(s->api.base_url, "https://api.joinpopp.com/v1");
    assert_string_equal(s->api.run_path, "/workflow-runs/{run_id}");
    assert_string_equal(config_api_organization(s), "org_1");
    assert_null(s->api.answer);
    assert_int_equal(s->api.after_ms, 3600000);
    assert_int_equal(s->api.rate_count, 1);
    assert_int_equal(s->api.rate_per_ms, 1000);
    assert_int_equal(s->api.per_day, 1000);

    s = config_source(c, "plain");
    assert_int_equal(s->organization_count, 0);
    assert_string_equal(s->signature.header, "x-signature");
    assert_int_equal(s->signature.encoding, SIGNATURE_HEX);
    assert_string_equal(s->signature.prefix, "");

    s = config_source(c, "standard");
    assert_int_equal(s->signature.scheme, SIGNATURE_STANDARD_WEBHOOKS);
    assert_string_equal(s->signature.header, "webhook-signature");
    assert_int_equal(s->signature.tolerance_ms, 300000);

    s = config_source(c, "stamped");
    assert_int_equal(s->signature.scheme, SIGNATURE_TIMESTAMPED);
    assert_string_equal(s->signature.header, "x-signature");
    assert_int_equal(s->signature.tolerance_ms, 30000);
    assert_null(config_source(c, "nobody"));
    config_unref(c);
}

static void test_connectors(void **state)
{
    struct config *c = parse("connectors:\n"
                             "  gh:\n"
                             "    type: greenhouse\n"
                             "    base_url: https://api.example.com/v3\n"
                             "    credentials: {client_id: id-1, client_secret: 12345}\n"
                             "    settings: {user_id: 4080, flag: true, name: \"\"}\n"
                             "    rate_limit: 50/10s\n"
                             "    concurrency: 8\n"
                             "    timeout: 30s\n"
                             "    retry: {base: 1s, cap: 2m, max_age: 1d}\n"
                             "    on_uncertain: hold\n"
                             "    proxy: socks5h://127.0.0.1:1080\n"
                             "    allow_private_addresses: true\n"
                             "  other:\n"
                             "    type: rest\n");
    const struct connector_config *k = config_connector(c, "gh");

    (void)state;
    assert_int_equal(c->connector_count, 2);
    assert_int_equal(k->line, 2);
    assert_string_equal(k->type, "greenhouse");
    assert_int_equal(k->type_line, 3);
    assert_string_equal(k->base_url, "https://api.example.com/v3");
    assert_string_equal(config_value(k->credentials, k->credential_count, "client_secret"), "12345");
    assert_int_equal(k->credentials[0].line, 5);
    assert_string_equal(config_value(k->settings, k->setting_count, "user_id"), "4080");
    assert_string_equal(config_value(k->settings, k->setting_count, "flag"), "true");
    assert_string_equal(config_value(k->settings, k->setting_count, "name"), "");
    assert_null(config_value(k->settings, k->setting_count, "x"));
    assert_int_equal(k->rate_count, 50);
    assert_int_equal(k->rate_per_ms, 10000);
    assert_int_equal(k->concurrency, 8);
    assert_int_equal(k->timeout_ms, 30000);
    assert_int_equal(k->retry_base_ms, 1000);
    assert_int_equal(k->retry_cap_ms, 120000);
    assert_int_equal(k->retry_max_age_ms, 86400000);
    assert_true(k->hold_uncertain);
    assert_string_equal(k->proxy, "socks5h://127.0.0.1:1080");
    assert_true(k->allow_private_addresses);

    k = config_connector(c, "other");
    assert_null(k->base_url);
    assert_int_equal(k->rate_count, 0);
    assert_int_equal(k->concurrency, 0);
    assert_int_equal(k->timeout_ms, 0);
    assert_int_equal(k->retry_base_ms, 5000);
    assert_int_equal(k->retry_cap_ms, 900000);
    assert_int_equal(k->retry_max_age_ms, 3 * 86400000);
    assert_false(k->hold_uncertain);
    assert_false(k->allow_private_addresses);
    assert_null(config_connector(c, "nobody"));
    config_unref(c);
}

static void test_rates(void **state)
{
    static const struct {
        const char *text;
        int64_t count, per_ms;
    } cases[] = {
        {"50/10s", 50, 10000},     {"20/s", 20, 1000},   {"100/m", 100, 60000},
        {"5000/h", 5000, 3600000}, {"9/d", 9, 86400000}, {"1/500ms", 1, 500},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *text = mem_printf("connectors: {a: {type: rest, rate_limit: %s}}\n", cases[i].text);
        struct config *c = parse(text);
        assert_int_equal(c->connectors[0].rate_count, cases[i].count);
        assert_int_equal(c->connectors[0].rate_per_ms, cases[i].per_ms);
        config_unref(c);
        mem_free(text);
    }
}

static void test_workflows(void **state)
{
    struct config *c = parse(
        MINIMAL_CONNECTOR
        "workflows:\n"
        "  cedar:\n"
        "    connector: ats\n"
        "    job: 182736\n"
        "    live: true\n"
        "    on:\n"
        "      started: {stage: Contacted, only_from: none}\n"
        "      completed/PASSED_CRITERIA:\n"
        "        stage: Screen\n"
        "        only_from: [Contacted, none]\n"
        "        tags: passed\n"
        "        assessment: {score: screen-1/dbs}\n"
        "      failed/SYSTEM: {reject: Broken, assessment: mean}\n"
        "      finished:\n"
        "        note: summary\n"
        "        fields: {t: \"1\", n: 007, d: 1.50, b: true, y: yes, q: \"true\"}\n"
        "    fields:\n"
        "      nmc-pin: pin\n"
        "      screen-1/dbs.score: dbs\n"
        "      licence: {field: lic, from: answerState, type: text, map: {IS_YES: true, IS_NO: No}, clear: true}\n"
        "  \"*\": {connector: ats}\n");
    const struct workflow_map *w = mapping_find(&c->mapping, "cedar");

    (void)state;
    assert_int_equal(c->mapping.count, 2);
    assert_int_equal(w->line, 3);
    assert_string_equal(w->connector, "ats");
    assert_string_equal(w->job, "182736");
    assert_true(w->live);
    assert_int_equal(w->rule_count, 4);

    const struct rule *r = &w->rules[0];
    assert_string_equal(r->condition_text, "started");
    assert_int_equal(r->condition.moment, MOMENT_STARTED);
    assert_int_equal(r->line, 8);
    assert_string_equal(r->stage, "Contacted");
    assert_int_equal(r->only_from_count, 1);
    assert_string_equal(r->only_from[0], "none");
    assert_null(r->reject);
    assert_null(r->assessment);

    r = &w->rules[1];
    assert_int_equal(r->condition.moment, MOMENT_COMPLETED);
    assert_string_equal(r->condition.qualifier, "PASSED_CRITERIA");
    assert_int_equal(r->only_from_count, 2);
    assert_int_equal(r->tag_count, 1);
    assert_string_equal(r->tags[0], "passed");
    assert_string_equal(r->assessment->score_from, "screen-1/dbs");
    assert_string_equal(w->rules[2].reject, "Broken");
    assert_string_equal(w->rules[2].assessment->score_from, "mean");

    r = &w->rules[3];
    assert_string_equal(r->note, "summary");
    static const char *const constants[][2] = {{"t", "\"1\""}, {"n", "\"007\""}, {"d", "1.50"},
                                               {"b", "true"},  {"y", "\"yes\""}, {"q", "\"true\""}};
    assert_int_equal(r->field_count, ATS_COUNT(constants));
    for (size_t i = 0; i < ATS_COUNT(constants); i++) {
        assert_string_equal(r->fields[i].field, constants[i][0]);
        assert_string_equal(r->fields[i].value_json, constants[i][1]);
        assert_int_equal(r->fields[i].line, 17);
    }

    assert_int_equal(w->field_count, 3);
    const struct field_map *f = &w->fields[0];
    assert_string_equal(f->key_text, "nmc-pin");
    assert_null(f->node_id);
    assert_string_equal(f->slug, "nmc-pin");
    assert_int_equal(f->member, ANSWER_TEXT);
    assert_string_equal(f->field, "pin");
    assert_int_equal(f->type, VALUE_AS_IS);
    assert_false(f->clear);
    f = &w->fields[1];
    assert_string_equal(f->node_id, "screen-1");
    assert_string_equal(f->slug, "dbs");
    assert_int_equal(f->member, ANSWER_SCORE);
    assert_int_equal(f->line, 20);
    f = &w->fields[2];
    assert_string_equal(f->field, "lic");
    assert_int_equal(f->member, ANSWER_STATE);
    assert_int_equal(f->type, VALUE_TEXT);
    assert_int_equal(f->option_count, 2);
    assert_string_equal(f->options[0].from, "IS_YES");
    assert_string_equal(f->options[0].to_json, "true");
    assert_string_equal(f->options[1].to_json, "\"No\"");
    assert_true(f->clear);

    assert_string_equal(mapping_find(&c->mapping, "unknown")->external_id, "*");
    assert_null(mapping_find(&c->mapping, NULL)->job);
    config_unref(c);
}

/* ---- problems */
static void test_problems(void **state)
{
    static const struct {
        const char *text, *problems;
    } cases[] = {
        /* keys */
        {"recevier: {}\n", "t.conf:1: recevier: unknown key, did you mean \"receiver\"?\n"},
        {"receiver:\n  listn: x\n", "t.conf:2: receiver.listn: unknown key, did you mean \"listen\"?\n"},
        {"log: {colour: x}\n", "t.conf:1: log.colour: unknown key; possible here: level, format\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {started: {stage: a, tag: b}}}}\n",
         "t.conf:2: workflows.w.on.started.tag: unknown key, did you mean \"tags\"?\n"},
        {"log: {level: info}\nadmin: {}\nlog: {level: debug}\n", "t.conf:3: log: given twice, first in line 1\n"},
        {"log:\n  level: info\n  level: warn\n", "t.conf:3: log.level: given twice, first in line 2\n"},
        {"sources:\n  a: {signing_secrets: [x]}\n  a: {signing_secrets: [y]}\n",
         "t.conf:3: sources.a: given twice, first in line 2\n"},
        {"- a\n", "t.conf:1: the file must be a map: keys such as receiver: and sources:\n"},
        {"a: [\n", "t.conf:2: not valid YAML: did not find expected node content (while parsing a flow node that began "
                   "in line 2)\n"},
        {"\"a\\nb\": 1\n", "t.conf:1: a?b: unknown key; possible here: instance, receiver, admin, database, sources, "
                           "connectors, workflows, delivery, retention, log\n"},
        /* types */
        {"receiver: [a]\n", "t.conf:1: receiver: must be a map (keys with values below it), not a list\n"},
        {"receiver: a\n", "t.conf:1: receiver: must be a map (keys with values below it), not a text\n"},
        {"sources: [a]\n", "t.conf:1: sources: must be a map (keys with values below it), not a list\n"},
        {"receiver: {listen: {a: b}}\n", "t.conf:1: receiver.listen: must be an address (such as 127.0.0.1:8480 or "
                                         "[::]:8480), not a map\n"},
        {"receiver: {request_timeout: [5s]}\n", "t.conf:1: receiver.request_timeout: must be a duration (such as "
                                                "500ms, 5s, 15m, 12h or 3d), not a list\n"},
        {"receiver:\n  listen:\n",
         "t.conf:2: receiver.listen: has no value: give an address (such as 127.0.0.1:8480 or "
         "[::]:8480) or leave the key out\n"},
        {"receiver: {request_timeout: 5 sec}\n", "t.conf:1: receiver.request_timeout: must be a duration (such as "
                                                 "500ms, 5s, 15m, 12h or 3d), not \"5 sec\"\n"},
        {"receiver: {max_body: 4MB}\n",
         "t.conf:1: receiver.max_body: must be a size (such as 64KiB or 4MiB), not \"4MB\"\n"},
        {"receiver: {max_connections: many}\n",
         "t.conf:1: receiver.max_connections: must be a number (such as 100), not \"many\"\n"},
        {"receiver: {max_connections: \"5\"}\n",
         "t.conf:1: receiver.max_connections: must be a number (such as 100), not a text in quotes\n"},
        {"database: {conninfo: \"postgresql://u:pa@ss@h/db\"}\n",
         "t.conf:1: database.conninfo: holds an @ that does not end user and password: in them @ is written %40, : "
         "%3A, / "
         "%2F, ? %3F, # %23 and % %25\n"},
        {"database: {conninfo: \"postgresql://u:pa/ss@h/db\"}\n",
         "t.conf:1: database.conninfo: holds an @ that does not end user and password: in them @ is written %40, : "
         "%3A, / "
         "%2F, ? %3F, # %23 and % %25\n"},
        {"delivery: {enabled: yes}\n", "t.conf:1: delivery.enabled: must be true or false, not \"yes\"\n"},
        {"delivery: {enabled: \"true\"}\n",
         "t.conf:1: delivery.enabled: must be true or false, not a text in quotes\n"},
        {"log: {level: inf}\n",
         "t.conf:1: log.level: must be debug, info, warn or error, not \"inf\"; did you mean \"info\"?\n"},
        {"log: {format: xml}\n", "t.conf:1: log.format: must be text or json, not \"xml\"\n"},
        /* what is repeated of a long text ends with a whole character */
        {"log: {format: " A75 "abcd\xc3\xa9}\n", "t.conf:1: log.format: must be text or json, not \"" A75 "abcd\"\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {" A75 "abcd\xc3\xa9: {stage: a}}}}\n",
         "t.conf:2: workflows.w.on." A75 "abcd\xc3\xa9: unknown condition \"" A75
         "abcd\"; possible are contact_resolved, contact_skipped, contact_failed, "
         "started, node/<id>[/<STATUS>], completed[/<STATUS>], opted_out, delivery_failed, cancelled, "
         "failed[/<CODE or CLASS>], finished\n"},
        /* bounds */
        {"receiver: {max_body: 1GiB}\n", "t.conf:1: receiver.max_body: must be between 1KiB and 64MiB, not 1GiB\n"},
        {"receiver: {max_connections: 0}\n",
         "t.conf:1: receiver.max_connections: must be between 1 and 100000, not 0\n"},
        {"receiver: {max_body: 2MiB, max_body_total: 1MiB}\n",
         "t.conf:1: receiver.max_body_total: must be at least max_body: the body of one event\n"},
        {"receiver: {max_connections: -1}\n",
         "t.conf:1: receiver.max_connections: must be between 1 and 100000, not -1\n"},
        {"receiver: {request_timeout: 1h}\n",
         "t.conf:1: receiver.request_timeout: must be between 1s and 10m, not 1h\n"},
        {"retention: {events: 0}\n", "t.conf:1: retention.events: must be between 1h and 36500d, not 0\n"},
        /* addresses and names */
        {"receiver: {listen: 8480}\n", "t.conf:1: receiver.listen: \"8480\" must be HOST:PORT or [IPV6]:PORT\n"},
        {"receiver: {listen: \":8480\"}\n", "t.conf:1: receiver.listen: \":8480\" has no host: write 0.0.0.0:PORT or "
                                            "[::]:PORT for all addresses\n"},
        {"receiver: {listen: \"::1:8480\"}\n",
         "t.conf:1: receiver.listen: \"::1:8480\" is an IPv6 address without brackets: write [IPV6]:PORT\n"},
        {"receiver: {listen: \"a:70000\"}\n",
         "t.conf:1: receiver.listen: \"a:70000\" must be HOST:PORT or [IPV6]:PORT\n"},
        {"database: {conninfo: \"host=a passwort=secret\"}\n",
         "t.conf:1: database.conninfo: is no connection string that PostgreSQL's libpq takes: \"dbname=atsync "
         "host=db.example user=atsyncd\" or \"postgresql://atsyncd@db.example/atsync\", with its keywords\n"},
        {"receiver: {listen: none}\n", "t.conf:1: receiver.listen: \"none\" must be HOST:PORT or [IPV6]:PORT\n"},
        {"instance: a b\n", "t.conf:1: instance: \"a b\" must consist of letters, digits, \".\", \"_\" and \"-\"\n"},
        {"sources: {a/b: {signing_secrets: [x]}}\n",
         "t.conf:1: sources.a/b: a name must consist of 1 to 64 letters, digits, \"-\" and \"_\"\n"},
        {"sources: {\"\": {signing_secrets: [x]}}\n", "t.conf:1: sources: a name must not be empty\n"},
        {"connectors: {a: {type: ../x}}\n", "t.conf:1: connectors.a.type: must consist of 1 to 64 letters, digits, "
                                            "\"-\" and \"_\": it names a file of connectors/\n"},
        /* admin */
        {"admin:\n  show_personal: true\n  listen: 0.0.0.0:8481\n",
         "t.conf:3: admin.token: is missing: it is required because 0.0.0.0:8481 can be reached from other machines\n"},
        {"admin: {token: short}\n", "t.conf:1: admin.token: is too short: 8 characters are the least\n"},
        {"database: {encryption_key: 0123456789abcde}\n",
         "t.conf:1: database.encryption_key: is too short: 16 characters are the least\n"},
        {"database: {encryption_key: [0123456789abcdef, short]}\n",
         "t.conf:1: database.encryption_key[1]: is too short: 16 characters are the least\n"},
        {"database: {encryption_key: []}\n",
         "t.conf:1: database.encryption_key: is an empty list: give at least one secret\n"},
        {"receiver:\n  tls:\n    key: /dev/null\n",
         "t.conf:3: receiver.tls.key: /dev/null is not a regular file\n"
         "t.conf:3: receiver.tls: needs both certificate and key: certificate is missing\n"},
        {"receiver:\n  tls:\n", "t.conf:2: receiver.tls: needs both certificate and key\n"},
        {"delivery: {lease: 2s, poll: 3s}\n", "t.conf:1: delivery: poll (3s) must be shorter than lease (2s)\n"},
        /* sources */
        {"sources:\n  popp: {}\n", "t.conf:2: sources.popp.signing_secrets: is missing\n"},
        {"sources: {popp: {signing_secrets: []}}\n",
         "t.conf:1: sources.popp.signing_secrets: is an empty list: give at least one secret\n"},
        {"sources: {popp: {signing_secrets: x}}\n",
         "t.conf:1: sources.popp.signing_secrets: must be a list of secrets, each with a \"- \" before it\n"},
        {"sources: {popp: {signing_secrets: [x, {env: ATSYNCD_NOT_SET}]}}\n",
         "t.conf:1: sources.popp.signing_secrets[1]: the environment variable ATSYNCD_NOT_SET is not set\n"},
        {"sources: {popp: {signing_secrets: [{fiel: x}]}}\n",
         "t.conf:1: sources.popp.signing_secrets[0].fiel: unknown key, did you mean \"file\"?\n"},
        {"sources: {popp: {signing_secrets: [{vault: x}]}}\n",
         "t.conf:1: sources.popp.signing_secrets[0]: must be a text, {file: PATH}, {env: NAME} or {credential: "
         "NAME}\n"},
        {"sources: {popp: {signing_secrets: [{file: x, env: y}]}}\n",
         "t.conf:1: sources.popp.signing_secrets[0]: must be a text, {file: PATH}, {env: NAME} or {credential: NAME}: "
         "exactly one of them\n"},
        {"sources: {popp: {signing_secrets: [x], api: {key: k}}}\n",
         "t.conf:1: sources.popp.api.organization: is missing: the organization that the key belongs to (or give "
         "exactly "
         "one in organizations)\n"},
        {"sources: {popp: {signing_secrets: [x], organizations: [a, b], api: {key: k}}}\n",
         "t.conf:1: sources.popp.api.organization: is missing: the organization that the key belongs to (or give "
         "exactly "
         "one in organizations)\n"},
        {"sources: {popp: {signing_secrets: [x], api: {organization: a}}}\n",
         "t.conf:1: sources.popp.api.key: is missing\n"},
        {"sources: {popp: {signing_secrets: [x], organizations: a, api: {key: k, base_url: "
         "\"http://api.example.com/v1\", "
         "run_path: /runs, probe_path: x, after: 100ms}}}\n",
         "t.conf:1: sources.popp.api.after: must be between 1s and 30d, not 100ms\n"
         "t.conf:1: sources.popp.api.run_path: must hold {run_id}: the place of the run's id\n"
         "t.conf:1: sources.popp.api.probe_path: must begin with /\n"
         "t.conf:1: sources.popp.api.base_url: must begin with https://: the key would travel unencrypted (http:// is "
         "for "
         "loopback and private addresses)\n"},
        {"sources: {popp: {signing_secrets: [x], organizations: a, api: {key: k, base_url: \"http://[::1]:8/v1\", "
         "answer: "
         "\"env.HOME\"}}}\n",
         "t.conf:1: sources.popp.api.answer: answer:1: a connector may not use env: it would depend on the environment "
         "of "
         "the process\n"},
        {"sources: {popp: {signing_secrets: [~]}}\n",
         "t.conf:1: sources.popp.signing_secrets[0]: has no value: it must be a text, {file: PATH}, {env: NAME} or "
         "{credential: NAME}\n"},
        {"sources: {popp: {signing_secrets: [x], organizations: []}}\n",
         "t.conf:1: sources.popp.organizations: is an empty list: give at least one text or leave the key out\n"},
        {"sources: {popp: {signing_secrets: [x], signature: {tolerance: 5m}}}\n",
         "t.conf:1: sources.popp.signature.tolerance: has no meaning with scheme body, only with standard-webhooks and "
         "timestamped: leave it out\n"},
        {"sources: {popp: {signing_secrets: [x], signature: {scheme: timestamped, encoding: base64, prefix: a}}}\n",
         "t.conf:1: sources.popp.signature.encoding: has no meaning with scheme timestamped, only with body: leave it "
         "out\n"
         "t.conf:1: sources.popp.signature.prefix: has no meaning with scheme timestamped, only with body: leave it "
         "out\n"},
        {"sources: {popp: {signing_secrets: [x], signature: {scheme: standard-webhooks, header: x-a}}}\n",
         "t.conf:1: sources.popp.signature.header: scheme standard-webhooks has fixed headers (webhook-signature): "
         "leave it out\n"},
        {"sources: {popp: {signing_secrets: [x], signature: {header: \"x a\"}}}\n",
         "t.conf:1: sources.popp.signature.header: is not the name of an HTTP header\n"},
        {"sources: {popp: {signing_secrets: [x], signature: {scheme: standard-webhook}}}\n",
         "t.conf:1: sources.popp.signature.scheme: must be body, standard-webhooks or timestamped, not "
         "\"standard-webhook\"; did you mean \"standard-webhooks\"?\n"},
        /* connectors */
        {"connectors: {a: {}}\n", "t.conf:1: connectors.a.type: is missing\n"},
        {"connectors: {a: {type: rest, base_url: api.example.com}}\n",
         "t.conf:1: connectors.a.base_url: must be a URL that begins with https:// or http://\n"},
        {"connectors: {a: {type: rest, base_url: \"https://u:p@api.example.com\"}}\n",
         "t.conf:1: connectors.a.base_url: this URL must not hold a user or password: they belong into credentials\n"},
        {"connectors: {a: {type: rest, base_url: \"https:///x\"}}\n",
         "t.conf:1: connectors.a.base_url: this URL names no host\n"},
        {"connectors: {a: {type: rest, base_url: \"https://a/?b\"}}\n",
         "t.conf:1: connectors.a.base_url: this URL must end before the ? and #\n"},
        {"connectors: {a: {type: rest, proxy: \"ftp://a\"}}\n",
         "t.conf:1: connectors.a.proxy: must be a URL that begins with http://, https://, socks5:// or socks5h://\n"},
        {"connectors: {a: {type: rest, rate_limit: fast}}\n",
         "t.conf:1: connectors.a.rate_limit: must be a rate (such as 50/10s or 100/m), not \"fast\"\n"},
        {"connectors: {a: {type: rest, rate_limit: 0/s}}\n",
         "t.conf:1: connectors.a.rate_limit: the number must be between 1 and 1000000, not 0\n"},
        {"connectors: {a: {type: rest, rate_limit: 1/1ms}}\n",
         "t.conf:1: connectors.a.rate_limit: the time must be between 100ms and 31d, not 1ms\n"},
        {"connectors:\n  a:\n    type: rest\n    retry: {base: 20m}\n",
         "t.conf:4: connectors.a.retry: base (20m) must not be longer than cap (15m)\n"},
        {"connectors: {a: {type: rest, retry: {max_age: 10m}}}\n",
         "t.conf:1: connectors.a.retry: cap (15m) must not be longer than max_age (10m)\n"},
        {"connectors: {a: {type: rest}}\nretention:\n  events: 2d\n",
         "t.conf:3: retention.events: 2d is too short: connector a tries its writes for 3d (retry.max_age)\n"},
        {"retention:\n  ids: 30d\n", "t.conf:2: retention.ids: 30d is too short: events are kept for 400d "
                                     "(retention.events), and each has its id\n"},
        {"connectors: {a: {type: rest, tls: {certificate: /dev/null}}}\n",
         "t.conf:1: connectors.a.tls.certificate: /dev/null is not a regular file\n"
         "t.conf:1: connectors.a.tls: needs both certificate and key: key is missing\n"},
        {"connectors: {a: {type: rest, settings: {x: [1]}}}\n",
         "t.conf:1: connectors.a.settings.x: must be a text, number or boolean, not a list\n"},
        /* workflows */
        {"workflows: {w: {}}\n", "t.conf:1: workflows.w.connector: is missing\n"},
        {"connectors: {greenhouse: {type: rest}}\nworkflows:\n  w:\n    live: true\n    connector: grenhouse\n",
         "t.conf:5: workflows.w.connector: there is no connector \"grenhouse\", did you mean \"greenhouse\"?\n"},
        {MINIMAL_CONNECTOR "workflows:\n  a: {connector: ats}\n  a: {connector: ats}\n  b: {connector: nobody}\n",
         "t.conf:4: workflows.a: given twice, first in line 3\n"
         "t.conf:5: workflows.b.connector: there is no connector \"nobody\" in connectors\n"},
        {"workflows: {w: {connector: x}}\n",
         "t.conf:1: workflows.w.connector: there is no connector \"x\" in connectors\n"},
        {MINIMAL_CONNECTOR "workflows:\n  w:\n    connector: ats\n    on:\n      complete: {stage: x}\n",
         "t.conf:6: workflows.w.on.complete: unknown condition \"complete\", did you mean \"completed\"?\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {started: {stage: a, reject: b}}}}\n",
         "t.conf:2: workflows.w.on.started.reject: cannot stand beside stage: one moment has one outcome\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {started: {tags: [a], only_from: b}}}}\n",
         "t.conf:2: workflows.w.on.started.only_from: has no meaning without stage\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {started: {}}}}\n",
         "t.conf:2: workflows.w.on.started: says nothing to do: give stage, reject, fields, tags, note or assessment, "
         "or "
         "leave it out\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {started: {stage: \"\"}}}}\n",
         "t.conf:2: workflows.w.on.started.stage: must not be empty\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {started: {tags: [a, [b]]}}}}\n",
         "t.conf:2: workflows.w.on.started.tags[1]: must be a text, not a list\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {started: {tags: {a: b}}}}}\n",
         "t.conf:2: workflows.w.on.started.tags: must be a text or a list of texts, not a map\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {started: {note: sumary}}}}\n",
         "t.conf:2: workflows.w.on.started.note: \"sumary\": did you mean \"summary\"?\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {finished: {assessment: median}}}}\n",
         "t.conf:2: workflows.w.on.finished.assessment: must be mean, {score: mean} or {score: SLUG}, not "
         "\"median\"\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {finished: {assessment: {}}}}}\n",
         "t.conf:2: workflows.w.on.finished.assessment.score: is missing\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {finished: {assessment: {score: a.score}}}}}\n",
         "t.conf:2: workflows.w.on.finished.assessment.score: \"a.score\" must not name a member: the score is meant "
         "anyhow\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, on: {finished: {fields: {a: ~}}}}}\n",
         "t.conf:2: workflows.w.on.finished.fields.a: has no value: give a text, number or boolean or leave the key "
         "out\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, fields: {a.score: {field: x, from: outcome}}}}\n",
         "t.conf:2: workflows.w.fields.a.score.from: the key names the member \"score\" already: leave one of them "
         "out\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, fields: {a: {from: outcom}}}}\n",
         "t.conf:2: workflows.w.fields.a.from: must be answer, answerState, trafficLight, outcome, score, "
         "documentS3Key, "
         "documentTwilioMediaSid or classifiedDocumentType, not \"outcom\"; did you mean \"outcome\"?\n"
         "t.conf:2: workflows.w.fields.a.field: is missing\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, fields: {a: [x]}}}\n",
         "t.conf:2: workflows.w.fields.a: must be a text, not a list\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, fields: {a/b/c: x}}}\n",
         "t.conf:2: workflows.w.fields.a/b/c: \"a/b/c\" is not the key of an answer: write SLUG or NODE/SLUG\n"},
        {MINIMAL_CONNECTOR "workflows: {w: {connector: ats, fields: {a: {field: x, type: integer}}}}\n",
         "t.conf:2: workflows.w.fields.a.type: must be text, number, boolean or date, not \"integer\"\n"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *got = problems_of(cases[i].text);
        assert_string_equal(got, cases[i].problems);
        mem_free(got);
    }
}

static void test_problems_of_other_modules_are_told(void **state)
{
    char *got = problems_of("sources:\n  popp:\n    signature: {scheme: standard-webhooks}\n"
                            "    signing_secrets: [\"whsec_not base64\"]\n");

    (void)state;
    assert_true(text_starts(got, "t.conf:4: sources.popp.signing_secrets: "));
    assert_null(strstr(got, "not base64\"")); /* never the secret */
    mem_free(got);
    got = problems_of(MINIMAL_CONNECTOR
                      "workflows: {w: {connector: ats, on: {finished: {note: \"Result: {resultt} and more\"}}}}\n");
    assert_true(text_starts(got, "t.conf:2: workflows.w.on.finished.note: "));
    mem_free(got);
}

static void test_all_problems_in_one_go_in_the_order_of_lines(void **state)
{
    char *got = problems_of("workflows:\n"
                            "  w: {connector: ats}\n" /* told last, printed first */
                            "log: {level: loud}\n"
                            "receiver:\n"
                            "  max_body: 1\n"
                            "  listn: x\n"
                            "sources:\n"
                            "  popp: {}\n");

    (void)state;
    assert_string_equal(got, "t.conf:2: workflows.w.connector: there is no connector \"ats\" in connectors\n"
                             "t.conf:3: log.level: must be debug, info, warn or error, not \"loud\"\n"
                             "t.conf:5: receiver.max_body: must be between 1KiB and 64MiB, not 1\n"
                             "t.conf:6: receiver.listn: unknown key, did you mean \"listen\"?\n"
                             "t.conf:8: sources.popp.signing_secrets: is missing\n");
    mem_free(got);
}

/* A secret in the wrong place must not come back in a message. */
static void test_secrets_are_never_repeated(void **state)
{
    static const char *const texts[] = {
        "admin: {token: s3cr}\n",
        "database: {encryption_key: s3cr}\n",
        "database: {encryption_key: [s3cr]}\n",
        "connectors: {a: {type: rest, credentials: {token: {s3cr: x, y: z}}}}\n",
        "connectors: {a: {type: rest, credentials: {token: [s3cr]}}}\n",
        "connectors: {a: {type: rest, proxy: \"ftp://u:s3cr@h\"}}\n",
        "connectors: {a: {type: rest, base_url: \"https://u:s3cr@h\"}}\n",
        "sources: {popp: {signing_secrets: s3cr}}\n",
        "admin: {token: \"s3cr\n",
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(texts); i++) {
        char *got = problems_of(texts[i]);
        assert_true(*got != '\0');
        assert_null(strstr(got, "s3cr"));
        mem_free(got);
    }
}

/* ---- files */
static char *load_problems(const char *path)
{
    struct config *c = NULL;
    struct config_problems problems = {0};
    struct buf out;

    int st = config_load(path, &c, &problems);
    assert_int_equal(st == ST_OK, problems.count == 0);
    assert_int_equal(st == ST_OK, c != NULL);
    buf_init(&out, 65536);
    config_problems_print(&problems, &out);
    config_problems_clear(&problems);
    config_unref(c);
    char *text = buf_take(&out);
    char *name = strstr(text, path);
    /* the directory differs in every run */
    char *rest = name == text ? mem_strdup(text + strlen(path)) : mem_strdup(text);
    mem_free(text);
    return rest;
}

static void assert_load(const char *text, mode_t mode, const char *wanted)
{
    char *path = write_file("c.conf", text, mode);
    char *got = load_problems(path);

    assert_string_equal(got, wanted);
    mem_free(got);
    mem_free(path);
}

static void test_a_file_with_secrets_must_be_closed(void **state)
{
    static const char *const secrets[] = {
        "\nsources: {popp: {signing_secrets: [s3cret]}}\n",
        "\nadmin: {token: s3cret-s3cret}\n",
        "\nconnectors: {a: {type: rest, credentials: {token: x}}}\n",
        "\ndatabase: {conninfo: host=a password = x}\n",
        "\ndatabase: {conninfo: \"postgresql://u:x@h/db\"}\n",
        "\nconnectors: {a: {type: rest, proxy: \"http://u:p@proxy:3128\"}}\n",
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(secrets); i++) {
        assert_load(secrets[i], 0640, "");
        assert_load(
            secrets[i], 0644,
            ": others can read or write this file (mode 0644), and it holds secrets (line 2): run chmod o-rwx on "
            "it, or move the secrets into files of their own with {file: PATH}\n");
        assert_load(
            secrets[i], 0642,
            ": others can read or write this file (mode 0642), and it holds secrets (line 2): run chmod o-rwx on "
            "it, or move the secrets into files of their own with {file: PATH}\n");
    }
    assert_load("log: {level: info}\ndatabase: {conninfo: passfile=/x dbname=password}\n"
                "connectors: {a: {type: rest, proxy: \"http://proxy:3128\"}}\n",
                0644, "");
}

static void test_files_that_cannot_be_read(void **state)
{
    struct config *c = NULL;
    struct config_problems problems = {0};
    char *path = path_of("missing.conf");
    char *message = mem_printf("cannot open %s: No such file or directory", path);

    (void)state;
    assert_int_equal(config_load(path, &c, &problems), ST_IO);
    assert_null(c);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.items[0].message, message);
    assert_int_equal(problems.items[0].line, 0);
    config_problems_clear(&problems);
    assert_null(problems.items);
    mem_free(message);
    mem_free(path);
}

/* made with openssl req -x509: two certificates with one key */
static const char pem[] = "-----BEGIN CERTIFICATE-----\n"
                          "MIIBczCCARmgAwIBAgIUIapBQob1dI2V7d+x++tJyfBOix8wCgYIKoZIzj0EAwIw\n"
                          "DjEMMAoGA1UEAwwDb25lMCAXDTI2MTEyNzE3MzEyMFoYDzIxMjYxMTAzMTczMTIw\n"
                          "WjAOMQwwCgYDVQQDDANvbmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASuPYIJ\n"
                          "K7JDULjMIenv8Kxs5W4ckgyxiKptIl3AS0OW86rL4hkcNAvOeBl2PtHwBI7x4d8T\n"
                          "jOSrJGhtw/3w0lbZo1MwUTAdBgNVHQ4EFgQUmsYjl5IDuJFLWZeIfM6JmOBYlDAw\n"
                          "HwYDVR0jBBgwFoAUmsYjl5IDuJFLWZeIfM6JmOBYlDAwDwYDVR0TAQH/BAUwAwEB\n"
                          "/zAKBggqhkjOPQQDAgNIADBFAiAvAlzT8PUmxCD6A5pw1/mvlDyafbDJP1F46h3K\n"
                          "OP3DIwIhAIG6TRkmGsRhbePId3b1nx4Nz48wzpsZetCtcFFy3ucW\n"
                          "-----END CERTIFICATE-----\n";
static const char other_pem[] = "-----BEGIN CERTIFICATE-----\n"
                                "MIIBdDCCARmgAwIBAgIUaukhWblldbp+FIcUOexGlwBZ2WcwCgYIKoZIzj0EAwIw\n"
                                "DjEMMAoGA1UEAwwDdHdvMCAXDTI2MTEyNzE3MzEyMFoYDzIxMjYxMTAzMTczMTIw\n"
                                "WjAOMQwwCgYDVQQDDAN0d28wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASuPYIJ\n"
                                "K7JDULjMIenv8Kxs5W4ckgyxiKptIl3AS0OW86rL4hkcNAvOeBl2PtHwBI7x4d8T\n"
                                "jOSrJGhtw/3w0lbZo1MwUTAdBgNVHQ4EFgQUmsYjl5IDuJFLWZeIfM6JmOBYlDAw\n"
                                "HwYDVR0jBBgwFoAUmsYjl5IDuJFLWZeIfM6JmOBYlDAwDwYDVR0TAQH/BAUwAwEB\n"
                                "/zAKBggqhkjOPQQDAgNJADBGAiEA3twm9jh0mQpvVQtivY/otBk506Fv9tVk2xk2\n"
                                "KIGil1wCIQCPmg3lxFY4+at/Ajtqqr5+0n1DiTMYBcpdwscbFC90yQ==\n"
                                "-----END CERTIFICATE-----\n";
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAUaD+jNICDpUhYgJ\n"
                              "+CHAxwZLMznwo9hvyIkvNu9nYouhRANCAASuPYIJK7JDULjMIenv8Kxs5W4ckgyx\n"
                              "iKptIl3AS0OW86rL4hkcNAvOeBl2PtHwBI7x4d8TjOSrJGhtw/3w0lbZ\n"
                              "-----END PRIVATE KEY-----\n";
static const char other_key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgNLfyfBfxZ0Lhment\n"
                                    "M9sl9ZoJJtNJAGNQpURgO+42pdahRANCAATmsn7oeBtQMkV+cRxFTtboWwO5yXWm\n"
                                    "pbBGKDIr9ZUN6la9Q+q4QV0caAuj0UDoduiICIGYIP+KfbojcXSqsPAL\n"
                                    "-----END PRIVATE KEY-----\n";

static void test_certificates(void **state)
{
    char *certificate = write_file("certificate.pem", pem, 0644);
    char *key = write_file("key.pem", key_pem, 0640);
    char *text = mem_printf("receiver: {tls: {certificate: %s, key: %s}}\n", certificate, key);
    struct config *c = parse(text);

    (void)state;
    assert_string_equal(c->receiver.tls_certificate_file, certificate);
    assert_string_equal(c->receiver.tls_certificate_pem, pem);
    assert_string_equal(c->receiver.tls_key_file, key);
    assert_string_equal(c->receiver.tls_key_pem, key_pem);
    config_unref(c);

    mem_free(write_file("key.pem", key_pem, 0644));
    char *wanted = mem_printf("t.conf:1: receiver.tls.key: others can read or write %s (mode 0644): run chmod o-rwx on "
                              "it\n",
                              key);
    char *got = problems_of(text);
    assert_string_equal(got, wanted);
    mem_free(wanted);
    mem_free(got);

    mem_free(write_file("key.pem", other_key_pem, 0600));
    got = problems_of(text);
    assert_string_equal(got, "t.conf:1: receiver.tls: the key does not belong to the certificate\n");
    mem_free(got);

    mem_free(write_file("key.pem", "no key", 0600));
    wanted = mem_printf("t.conf:1: receiver.tls.key: %s is not a PEM file (-----BEGIN ... is missing)\n", key);
    got = problems_of(text);
    assert_string_equal(got, wanted);
    mem_free(wanted);
    mem_free(got);
    mem_free(text);
    mem_free(key);
    mem_free(certificate);
}

/* ---- sharing and comparing */
static void test_references(void **state)
{
    struct config *c = parse("instance: one\n");

    (void)state;
    assert_ptr_equal(config_ref(c), c);
    config_unref(c);
    assert_string_equal(c->instance, "one"); /* still there: ASan would know */
    config_unref(c);
}

static void assert_diff(const char *before, const char *after, const char *lines)
{
    struct config *a = parse(before), *b = parse(after);
    struct buf out;

    buf_init(&out, 65536);
    config_diff(a, b, &out);
    assert_string_equal(buf_text(&out), lines);
    buf_free(&out);
    config_unref(a);
    config_unref(b);
}

static void test_diff(void **state)
{
    (void)state;
    assert_diff("", "", "");
    assert_diff("log: {level: info}\n", "log: {level: debug}\n", "log.level: info -> debug\n");
    assert_diff("receiver: {max_body: 1536KiB}\n", "retention: {calls: 90m}\n",
                "receiver.max_body: 1536KiB -> 4MiB\nretention.calls: 30d -> 90m\n");
}

static void test_diff_of_everything(void **state)
{
    static const char before[] =
        "instance: a\n"
        "admin: {token: token-one}\n"
        "sources: {s: {signing_secrets: [one], organizations: [o]}, gone: {signing_secrets: [x]}}\n"
        "connectors:\n"
        "  ats: {type: rest, credentials: {token: a}, rate_limit: 50/10s, retry: {base: 1s}}\n"
        "workflows:\n"
        "  w:\n"
        "    connector: ats\n"
        "    on: {started: {stage: A, assessment: mean}, finished: {tags: [x]}}\n"
        "    fields: {q: f, r: {field: g, map: {Y: \"1\"}}}\n";
    static const char after[] =
        "instance: b\n"
        "receiver: {listen: 127.0.0.1:1}\n"
        "admin: {listen: none, token: token-two}\n"
        "database: {conninfo: host=x password=secret}\n"
        "sources: {new: {signing_secrets: [x]}, s: {signing_secrets: [two], organizations: [o, p]}}\n"
        "connectors:\n"
        "  ats: {type: rest, credentials: {token: b}, rate_limit: 1/m, on_uncertain: hold}\n"
        "workflows:\n"
        "  w:\n"
        "    connector: ats\n"
        "    live: true\n"
        "    on: {started: {stage: \"B\\nC\", assessment: {score: q}}, finished: {note: summary}}\n"
        "    fields: {r: {field: g, map: {Y: 2}}, q.score: f}\n";

    (void)state;
    assert_diff(before, after,
                "instance: a -> b\n"
                "receiver.listen: 127.0.0.1:8480 -> 127.0.0.1:1\n"
                "admin.listen: 127.0.0.1:8481 -> (none)\n"
                "admin.token: changed\n"
                "database.conninfo: changed\n"
                "sources.s.organizations: [o] -> [o, p]\n"
                "sources.s.signing_secrets: changed\n"
                "sources.gone: removed\n"
                "sources.new: added\n"
                "connectors.ats.credentials.token: changed\n"
                "connectors.ats.rate_limit: 50/10s -> 1/1m\n"
                "connectors.ats.retry.base: 1s -> 5s\n"
                "connectors.ats.on_uncertain: repeat -> hold\n"
                "workflows.w.on.started.stage: A -> B?C\n"
                "workflows.w.on.started.assessment.score: mean -> q\n"
                "workflows.w.on.finished.tags: [x] -> (none)\n"
                "workflows.w.on.finished.note: (none) -> summary\n"
                "workflows.w.fields.q: removed\n"
                "workflows.w.fields.r.map.Y: \"1\" -> 2\n"
                "workflows.w.fields.q.score: added\n"
                "workflows.w.live: false -> true\n");
    assert_diff(after, after, "");
}

/* What is in use after a reload, and what of the file waits for a restart. */
static void assert_kept(const char *before, const char *after, const char *in_use, const char *kept)
{
    struct config *a = parse(before), *b = parse(after), *wanted = parse(in_use);
    struct buf names, rest;

    buf_init(&names, 65536);
    buf_init(&rest, 65536);
    config_keep_fixed(b, a, &names);
    assert_string_equal(buf_text(&names), kept);
    config_diff(wanted, b, &rest);
    assert_string_equal(buf_text(&rest), "");
    buf_free(&names);
    buf_free(&rest);
    config_unref(a);
    config_unref(b);
    config_unref(wanted);
}

static void test_keep_fixed(void **state)
{
    (void)state;
    assert_kept("", "", "", "");
    assert_kept("log: {level: info}\n", "log: {level: debug}\n", "log: {level: debug}\n", "");
    assert_kept(
        "instance: a\ndatabase: {encryption_key: one-key-is-enough, conninfo: dbname=x}\n",
        "instance: b\nreceiver: {listen: 127.0.0.1:1, max_body: 1MiB}\nadmin: {listen: none, token: token-two}\n"
        "database: {conninfo: host=x password=secret, encryption_key: another-key-it-is}\n"
        "delivery: {enabled: false, lease: 2s, poll: 500ms, slots: 3}\n",
        "instance: a\nreceiver: {max_body: 1MiB}\nadmin: {token: token-two}\n"
        "database: {encryption_key: another-key-it-is, conninfo: dbname=x}\ndelivery: {poll: 500ms, slots: 3}\n",
        "instance: a -> b\n"
        "receiver.listen: 127.0.0.1:8480 -> 127.0.0.1:1\n"
        "admin.listen: 127.0.0.1:8481 -> (none)\n"
        "database.conninfo: changed\n"
        "delivery.enabled: true -> false\n"
        "delivery.lease: 1m -> 2s\n");
}

/* What goes with a key that stays must stay too. */
static void test_keep_fixed_together(void **state)
{
    (void)state;
    assert_kept("admin: {listen: 0.0.0.0:8481, token: token-one}\n", "admin: {listen: 127.0.0.1:8481}\n",
                "admin: {listen: 0.0.0.0:8481, token: token-one}\n",
                "admin.listen: 0.0.0.0:8481 -> 127.0.0.1:8481\nadmin.token: changed\n");
    assert_kept("admin: {listen: 0.0.0.0:8481, token: token-one}\n",
                "admin: {listen: 127.0.0.1:8481, token: token-two}\n",
                "admin: {listen: 0.0.0.0:8481, token: token-two}\n", "admin.listen: 0.0.0.0:8481 -> 127.0.0.1:8481\n");
    assert_kept("admin: {listen: none}\n", "admin: {listen: off}\n", "admin: {listen: none}\n", "");
    assert_kept("admin: {listen: none, token: token-one}\n", "admin: {listen: 127.0.0.1:8481}\n",
                "admin: {listen: none}\n", "admin.listen: (none) -> 127.0.0.1:8481\n");
    assert_kept("delivery: {lease: 2s, poll: 100ms}\n", "delivery: {lease: 10m, poll: 5s}\n",
                "delivery: {lease: 2s, poll: 100ms}\n", "delivery.lease: 2s -> 10m\ndelivery.poll: 100ms -> 5s\n");
}

static void test_diff_of_certificates(void **state)
{
    char *certificate = write_file("certificate.pem", pem, 0644);
    char *key = write_file("key.pem", key_pem, 0600);
    char *text = mem_printf("receiver: {tls: {certificate: %s, key: %s}}\n", certificate, key);
    struct config *before = parse(text), *after = NULL;
    struct buf out;

    (void)state;
    mem_free(write_file("certificate.pem", other_pem, 0644));
    after = parse(text);
    buf_init(&out, 65536);
    config_diff(before, after, &out);
    char *wanted = mem_printf("receiver.tls.certificate: %s: contents changed\n", certificate);
    assert_string_equal(buf_text(&out), wanted);
    config_unref(before);
    config_unref(after);
    buf_free(&out);
    mem_free(wanted);
    mem_free(text);
    mem_free(key);
    mem_free(certificate);
}

/* ---- the documents that name every key: run from the top of the tree */
static char *read_document(const char *path)
{
    struct buf text;
    char piece[4096];
    size_t n;
    FILE *f = fopen(path, "re");

    if (f == NULL)
        fail_msg("%s cannot be opened: run the tests in the top directory", path);
    buf_init(&text, 1024 * 1024);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_add(&text, piece, n);
    assert_int_equal(ferror(f), 0);
    (void)fclose(f);
    return buf_take(&text);
}

static void check_man_entry(void *ctx, const struct config_key_info *info)
{
    const char *man = ctx;
    const char *value = info->required            ? "required"
                        : info->fallback == NULL  ? "no default"
                        : *info->fallback == '\0' ? "default empty"
                                                  : "default ";
    char *entry = mem_printf(".It Ic %s\n(%s; %s%s; %s)\n", info->path, info->type, value,
                             text_eq(value, "default ") ? info->fallback : "", info->reloadable ? "reload" : "restart");

    if (strstr(man, entry) == NULL)
        fail_msg("packaging/man/atsyncd.conf.5 lacks this entry:\n%s", entry);
    assert_true(strlen(info->help) > 10);
    mem_free(entry);
}

static void test_the_man_page_names_every_key(void **state)
{
    char *man = read_document("packaging/man/atsyncd.conf.5");

    (void)state;
    config_each_key(check_man_entry, man);
    mem_free(man);
}

/* "#key: value" is a key that may be left out, "# words" is a comment. */
static char *with_optional_keys(const char *sample)
{
    struct buf out;
    bool at_start = true;

    buf_init(&out, 1024 * 1024);
    for (const char *p = sample; *p != '\0'; p++) {
        if (at_start && *p == '#' && p[1] != ' ' && p[1] != '\n')
            continue;
        if (*p == '\n')
            at_start = true;
        else if (*p != ' ')
            at_start = false;
        buf_putc(&out, *p);
    }
    return buf_take(&out);
}

static char *replaced(const char *text, const char *from, const char *to)
{
    struct buf out;
    const char *hit;

    buf_init(&out, 1024 * 1024);
    while ((hit = strstr(text, from)) != NULL) {
        buf_add(&out, text, (size_t)(hit - text));
        buf_puts(&out, to);
        text = hit + strlen(from);
    }
    buf_puts(&out, text);
    return buf_take(&out);
}

/* Does some path below node match this one? Words in capitals match any name. Default values are compared. */
static bool sample_has(const struct yaml *node, const char *path, const char *fallback)
{
    size_t len = strcspn(path, ".");
    const char *rest = path[len] == '.' ? path + len + 1 : NULL;
    bool any_name = *path >= 'A' && *path <= 'Z';

    for (size_t i = 0; node->kind == YAML_MAP && i < node->count; i++) {
        const struct yaml_item *item = &node->items[i];
        if (!any_name && (strlen(item->key) != len || strncmp(item->key, path, len) != 0))
            continue;
        if (rest != NULL ? sample_has(item->value, rest, fallback)
                         : fallback == NULL || item->value->kind != YAML_SCALAR ||
                               text_eq(item->value->scalar, fallback) || any_name)
            return true;
    }
    return false;
}

static void check_sample_entry(void *ctx, const struct config_key_info *info)
{
    const struct yaml *root = ctx;
    const char *fallback = info->fallback;

    if (!sample_has(root, info->path, fallback))
        fail_msg("conf/atsyncd.conf lacks %s%s%s", info->path, fallback != NULL ? " with the default " : "",
                 fallback != NULL ? fallback : "");
}

static void test_the_sample_names_every_key_and_is_right(void **state)
{
    char *sample = read_document("conf/atsyncd.conf");
    char *full = with_optional_keys(sample);
    char *tls = NULL, *here = NULL;
    struct yaml *root = NULL;
    unsigned line = 0;
    struct errmsg err;

    (void)state;
    if (yaml_tree_parse(full, strlen(full), &root, &line, &err) != ST_OK)
        fail_msg("conf/atsyncd.conf with all keys, line %u: %s", line, err.text);
    config_each_key(check_sample_entry, root);
    yaml_tree_free(root);

    for (size_t i = 1; i < ATS_COUNT(made); i++)
        mem_free(write_file(made[i],
                            strcmp(made[i], "key.pem") == 0                                    ? key_pem
                            : strstr(made[i], "pem") != NULL || text_starts(made[i], "client") ? pem
                                                                                               : "0123456789abcdef\n",
                            0600));
    const char *const versions[] = {sample, full};
    for (size_t i = 0; i < ATS_COUNT(versions); i++) {
        tls = replaced(versions[i], "/etc/atsyncd/tls/", "/etc/atsyncd/");
        char *base = mem_printf("%s/", dir);
        here = replaced(tls, "/etc/atsyncd/", base);
        /* as it is installed: others may read it, for it holds no secret */
        assert_load(here, 0644, "");
        mem_free(here);
        mem_free(base);
        mem_free(tls);
    }
    mem_free(full);
    mem_free(sample);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_file_has_the_defaults),
        cmocka_unit_test(test_values_of_the_daemon),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_connectors),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_workflows),
        cmocka_unit_test(test_problems),
        cmocka_unit_test(test_problems_of_other_modules_are_told),
        cmocka_unit_test(test_all_problems_in_one_go_in_the_order_of_lines),
        cmocka_unit_test(test_secrets_are_never_repeated),
        cmocka_unit_test(test_a_file_with_secrets_must_be_closed),
        cmocka_unit_test(test_files_that_cannot_be_read),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_diff),
        cmocka_unit_test(test_diff_of_everything),
        cmocka_unit_test(test_keep_fixed),
        cmocka_unit_test(test_keep_fixed_together),
        cmocka_unit_test(test_diff_of_certificates),
        cmocka_unit_test(test_the_man_page_names_every_key),
        cmocka_unit_test(test_the_sample_names_every_key_and_is_right),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
