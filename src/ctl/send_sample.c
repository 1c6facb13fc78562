#include <getopt.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/command.h"
#include "ctl/sample.h"
#include "domain/signature.h"
#include "lib/httpc.h"
#include "service/app.h"

enum { TIMEOUT_MS = 35000, ANSWER_MAX_BYTES = 64 * 1024, SIGNATURE_HEADERS_MAX = 3 };

struct sending {
    const struct ctl *ctl;
    const char *command;
    const char *url;
    const char *ca_file;
    const struct json *event;
    bool done;
    int status; /* to end with */
};

/* "0.0.0.0:8480" is where to listen, not where to go. */
static char *url_of(const struct config *c, const char *source, struct errmsg *err)
{
    const char *listen = c->receiver.listen;
    const char *colon = strrchr(listen, ':');
    size_t host_len = (size_t)(colon - listen);
    const char *host = listen;

    if (strcmp(colon, ":0") == 0) {
        err_set(err, ST_INVALID,
                "receiver.listen has port 0, so the daemon's port is not known here: give it with --url");
        return NULL;
    }
    if (host_len == strlen("0.0.0.0") && text_starts(listen, "0.0.0.0")) {
        host = "127.0.0.1";
    } else if (host_len == strlen("[::]") && text_starts(listen, "[::]")) {
        host = "[::1]";
    }
    return mem_printf("%s://%.*s%s/webhooks/%s", c->receiver.tls_certificate_pem ? "https" : "http",
                      host == listen ? (int)host_len : (int)strlen(host), host, colon, source);
}

static void print_plain(const char *s)
{
    struct buf plain;

    buf_init(&plain, 3 * strlen(s));
    json_plain(s, &plain);
    fputs(buf_text(&plain), stdout);
    buf_free(&plain);
}

static void print_answer(struct sending *s, const struct httpc_response *response)
{
    const char *type = json_get_str(s->event, "event");
    const char *id = json_get_str(s->event, "eventId");
    struct json *answer = NULL;
    struct json *j;

    if (!s->ctl->json) {
        print_plain(type ? type : "(no event)");
        putchar(' ');
        print_plain(id ? id : "(no eventId)");
        printf(" -> %s\n%ld %s\n", s->url, response->status, response->body);
        return;
    }
    if (json_parse(response->body, response->body_len, &answer, NULL) != ST_OK) {
        answer = json_string(response->body);
    }
    j = json_object();
    json_set_str(j, "event", type);
    json_set_str(j, "eventId", id);
    json_set_str(j, "url", s->url);
    json_set_int(j, "status", response->status);
    json_set(j, "answer", answer);
    ctl_print_json(j);
}

static void on_answer(void *ctx, const struct httpc_response *response)
{
    struct sending *s = ctx;

    s->done = true;
    if (response->result == HTTPC_ANSWERED) {
        print_answer(s, response);
        s->status = response->status / 100 == 2 ? EXIT_CLEAN : EXIT_RUNTIME;
    } else {
        fprintf(stderr, "%s: no answer from %s: %s\n", s->command, s->url, response->error);
        s->status = EXIT_RUNTIME;
    }
}

static void send_signed(struct sending *s, struct signature_verifier *signer)
{
    char *body = json_text(s->event);
    const char *id = json_get_str(s->event, "eventId");
    struct signature_headers signature = {0};
    struct httpc_header headers[SIGNATURE_HEADERS_MAX + 1] = {{"Content-Type", "application/json"}};
    struct httpc_request request = {
        .method = "POST",
        .url = s->url,
        .headers = headers,
        .header_count = 1,
        .body = body,
        .body_len = strlen(body),
        .timeout_ms = TIMEOUT_MS,
        .response_max_bytes = ANSWER_MAX_BYTES,
        .ca_file = s->ca_file,
        .allow_private_address = true,
    };
    struct httpc *client;

    signature_sign(signer, id ? id : "sample", body, strlen(body), clock_wall_us(), &signature);
    for (size_t i = 0; i < signature.count; i++) {
        headers[request.header_count++] = (struct httpc_header){signature.header[i].name, signature.header[i].value};
    }
    httpc_global_init();
    client = httpc_new(1, "atsyncctl/" ATSYNC_VERSION);
    httpc_start(client, &request, on_answer, s);
    while (!s->done) {
        (void)httpc_poll(client, 1000);
    }
    httpc_free(client);
    signature_headers_free(&signature);
    mem_free(body);
}

struct wanted { /* the arguments */
    const char *type, *source, *url, *ca_file;
    const char **assignments;
    size_t assignment_count;
};

/* Returns -1, or the exit status. */
static int read_arguments(int argc, char **argv, struct wanted *w)
{
    static const struct option options[] = {
        {"set", required_argument, NULL, 's'},
        {"source", required_argument, NULL, 'o'},
        {"url", required_argument, NULL, 'u'},
        {"ca", required_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = ctl_next_option(argc, argv, "", options)) != -1) {
        switch (option) {
        case 's':
            w->assignments = mem_grow(w->assignments, w->assignment_count + 1, sizeof *w->assignments);
            w->assignments[w->assignment_count++] = optarg;
            break;
        case 'o':
            w->source = optarg;
            break;
        case 'u':
            w->url = optarg;
            break;
        case 'a':
            w->ca_file = optarg;
            break;
        default:
            return EXIT_USAGE;
        }
    }
    if (argc - optind != 1) {
        return ctl_usage(argv[0], argc == optind ? "which sample? TYPE is missing" : "one TYPE at a time");
    }
    w->type = argv[optind];
    return -1;
}

static int make_event(const struct wanted *w, struct json **ret, struct errmsg *err)
{
    struct json *event = NULL;
    int st = sample_event(w->type, &event, err);

    for (size_t i = 0; st == ST_OK && i < w->assignment_count; i++) {
        st = sample_set(&event, w->assignments[i], err);
    }
    if (st == ST_OK) {
        *ret = event;
    } else {
        json_free(event);
    }
    return st;
}

int ctl_send_sample(const struct ctl *ctl, int argc, char **argv)
{
    struct wanted w = {0};
    struct config *config = NULL;
    const struct source_config *source = NULL;
    struct signature_verifier *signer = NULL;
    struct json *event = NULL;
    char *url = NULL;
    struct errmsg err = {{0}};
    struct sending sending = {.ctl = ctl, .command = argv[0]};
    int status = read_arguments(argc, argv, &w);

    if (status >= 0) {
        goto out;
    }
    if (make_event(&w, &event, &err) != ST_OK) {
        status = ctl_usage(argv[0], "%s", err.text);
        goto out;
    }
    if (!ctl_load_config(ctl, &config, &status)) {
        goto out;
    }
    if (ctl_find_source(config, w.source, &source, &err) != ST_OK ||
        signature_verifier_new(&source->signature, &signer, &err) != ST_OK) {
        status = ctl_fail(argv[0], &err);
        goto out;
    }
    url = w.url ? mem_strdup(w.url) : url_of(config, source->name, &err);
    if (!url) {
        status = ctl_fail(argv[0], &err);
        goto out;
    }
    sending.url = url;
    sending.ca_file = w.ca_file;
    sending.event = event;
    send_signed(&sending, signer);
    status = sending.status;
out:
    mem_free(w.assignments);
    mem_free(url);
    json_free(event);
    signature_verifier_free(signer);
    config_unref(config);
    return status;
}
