#include "lib/jqvm.h"

#include <float.h>
#include <jq.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { SAID_MAX_BYTES = 1024, NEST_MAX = 200, PASSWD_BYTES = 4096 };

struct jqvm {
    jq_state *jq;
    const char *name; /* for messages; only during jqvm_compile */
    bool only_syntax; /* an interpolation is being checked */
    struct buf said;  /* what jq said about the program */
};

static bool is_word_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_word_start(c) || is_digit(c);
}

/* ---- what libjq says -------------------------------------------------------------------------------------------- */

/* Text of a jv for people: strings as they are, others as JSON. Takes the jv; the result is a string jv. */
static jv jv_to_text(jv value)
{
    return jv_get_kind(value) == JV_KIND_STRING ? value : jv_dump_string(value, 0);
}

static const char *skip_prefix(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);

    return strncmp(text, prefix, len) == 0 ? text + len : text;
}

/* Called by jq_compile, once per error and at last with their number. What jq says looks like
 *     jq: error: foo/1 is not defined at <top-level>, line 2, column 5:
 *         foo(1)
 * with the column and the indent in newer versions only; we keep the first line as NAME:2: foo/1 is not defined. */
static void on_message(void *ctx, jv message)
{
    static const char place[] = " at <top-level>, line ";
    static const char shell_hint[] = " (Unix shell quoting issues?)";
    static const char own_module[] = "Module metadata must be "; /* see scan_interpolation() */
    struct jqvm *q = ctx;
    jv owner = jv_to_text(message);
    const char *text = skip_prefix(skip_prefix(jv_string_value(owner), "jq: "), "error: ");
    const char *end = strstr(text, place);
    const char *hint = strstr(text, shell_hint);

    if (q->name == NULL || (is_digit(text[0]) && strstr(text, " compile error") != NULL) ||
        (q->only_syntax && strncmp(text, own_module, sizeof own_module - 1) == 0))
        goto done;
    if (q->said.len > 0)
        buf_puts(&q->said, "; ");
    buf_puts(&q->said, q->name);
    if (end != NULL) {
        const char *line = end + sizeof place - 1;

        buf_putc(&q->said, ':');
        buf_add(&q->said, line, strspn(line, "0123456789"));
    } else {
        end = text + strcspn(text, "\n");
    }
    buf_puts(&q->said, ": ");
    if (hint != NULL && hint < end)
        end = hint;
    for (; text < end; text++)
        buf_putc(&q->said, *text == '\n' ? ' ' : *text);
done:
    jv_free(owner);
}

/* ---- what a program may not use ------------------------------------------------------------------------------- */

#define READS_ENVIRONMENT "it would depend on the environment of the process"
#define READS_INPUT "its only input is '.'"
#define WRITES "its result is its only output"
#define READS_FILES "it must stand alone in its file"
#define ENDS "only error(…) may end it early"
#define READS_CLOCK "the same input must always give the same result"

static const struct denied {
    const char *word;
    const char *reason;
} denied_words[] = {
    {"env", READS_ENVIRONMENT},
    {"$ENV", READS_ENVIRONMENT},
    {"$__prog_args", READS_ENVIRONMENT},
    {"input", READS_INPUT},
    {"inputs", READS_INPUT},
    {"input_filename", READS_INPUT},
    {"input_line_number", READS_INPUT},
    {"debug", WRITES},
    {"stderr", WRITES},
    {"import", READS_FILES},
    {"include", READS_FILES},
    {"modulemeta", READS_FILES},
    {"get_search_list", READS_FILES},
    {"get_jq_origin", READS_FILES},
    {"get_prog_origin", READS_FILES},
    {"halt", ENDS},
    {"halt_error", ENDS},
    {"now", READS_CLOCK},
    {"localtime", READS_CLOCK},
    {"strflocaltime", READS_CLOCK},
};

/*
 * A lexer for as much of jq as it takes to tell a call from a field, a key, a variable, text and comment. It must never
 * take for one of those what jq takes for a call; where it is in doubt it refuses. Brackets have to match, so that it
 * cannot lose step with jq (and because libjq 1.6 leaks what it read of a string that is never closed).
 */
struct scan {
    struct jqvm *q;
    const char *name;
    const char *at;
    unsigned line;
    char before; /* the last significant character; 'w' for a word */
    struct open {
        char kind; /* ( [ { are themselves, " a string, \ an interpolation in it, i an if */
        unsigned line;
        const char *start; /* what follows it */
    } open[NEST_MAX];
    size_t depth;
    struct errmsg *err;
};

static char innermost(const struct scan *s)
{
    return s->depth > 0 ? s->open[s->depth - 1].kind : '\0';
}

static int scan_open(struct scan *s, char kind)
{
    if (s->depth == NEST_MAX)
        return err_set(s->err, ST_INVALID, "%s:%u: nested deeper than %d levels", s->name, s->line, NEST_MAX);
    s->open[s->depth++] = (struct open){.kind = kind, .line = s->line, .start = s->at};
    return ST_OK;
}

static int scan_never_closed(const struct scan *s)
{
    const struct open *open = &s->open[s->depth - 1];

    switch (open->kind) {
    case '"':
        return err_set(s->err, ST_INVALID, "%s:%u: a string is never closed", s->name, open->line);
    case '\\':
        return err_set(s->err, ST_INVALID, "%s:%u: \\( is never closed", s->name, open->line);
    case 'i':
        return err_set(s->err, ST_INVALID, "%s:%u: an if has no end", s->name, open->line);
    default:
        return err_set(s->err, ST_INVALID, "%s:%u: %c is never closed", s->name, open->line, open->kind);
    }
}

/* White space and comments. */
static int scan_blank(struct scan *s)
{
    for (;;) {
        if (*s->at == '\n') {
            s->line++;
            s->at++;
        } else if (*s->at == ' ' || *s->at == '\t' || (*s->at == '\r' && s->at[1] == '\n')) {
            s->at++;
        } else if (*s->at == '\r') {
            return err_set(s->err, ST_INVALID, "%s:%u: a carriage return stands alone; lines end in \\n or \\r\\n",
                           s->name, s->line);
        } else if (*s->at == '#') {
            s->at += strcspn(s->at, "\r\n");
            /* jq 1.7.1 and newer read on in the next line, 1.6 does not */
            if (s->at[-1] == '\\')
                return err_set(s->err, ST_INVALID, "%s:%u: a comment must not end in a backslash", s->name, s->line);
        } else {
            return ST_OK;
        }
    }
}

/* The text of a string from here to its end, or to the next interpolation. */
static int scan_string(struct scan *s)
{
    for (; *s->at != '\0'; s->at++) {
        if (*s->at == '"') {
            s->at++;
            s->depth--;
            s->before = '"';
            return ST_OK;
        }
        if (*s->at == '\\' && s->at[1] == '(') {
            s->at += 2;
            s->before = '(';
            return scan_open(s, '\\');
        }
        if (*s->at == '\\' && s->at[1] != '\0')
            s->at++;
        if (*s->at == '\n')
            s->line++;
    }
    return scan_never_closed(s);
}

/*
 * Has libjq parse what stands in \( ) before it sees the whole program: all versions so far leak a string in which they
 * find a syntax error. Inner ones come first, because they close first. The wrong module directive keeps libjq from
 * binding its library to it, which takes most of the time of a compilation and would ask for variables from around the
 * string.
 */
static int scan_interpolation(struct scan *s, const struct open *open)
{
    struct buf text;
    int st = ST_OK;

    buf_init(&text, strlen(open->start) + open->line + sizeof "module .;()");
    buf_puts(&text, "module .;");
    for (unsigned i = 1; i < open->line; i++)
        buf_putc(&text, '\n');
    buf_putc(&text, '(');
    buf_add(&text, open->start, (size_t)(s->at - open->start));
    buf_putc(&text, ')');
    s->q->only_syntax = true;
    jq_compile(s->q->jq, buf_text(&text));
    s->q->only_syntax = false;
    if (s->q->said.len > 0)
        st = err_set(s->err, ST_INVALID, "%s", buf_text(&s->q->said));
    buf_free(&text);
    return st;
}

static int scan_close(struct scan *s, char close)
{
    char open = innermost(s);
    int st = ST_OK;

    if (!((close == ')' && (open == '(' || open == '\\')) || (close == ']' && open == '[') ||
          (close == '}' && open == '{')))
        return err_set(s->err, ST_INVALID, "%s:%u: %c closes nothing", s->name, s->line, close);
    s->depth--;
    if (open == '\\')
        st = scan_interpolation(s, &s->open[s->depth]);
    s->at++;
    s->before = close;
    return st == ST_OK && open == '\\' ? scan_string(s) : st;
}

static int scan_check_word(const struct scan *s, const char *word, size_t len, unsigned line)
{
    for (size_t i = 0; i < ATS_COUNT(denied_words); i++) {
        const struct denied *denied = &denied_words[i];

        if (strlen(denied->word) == len && memcmp(denied->word, word, len) == 0)
            return err_set(s->err, ST_INVALID, "%s:%u: a connector may not use %s: %s", s->name, line, denied->word,
                           denied->reason);
    }
    return ST_OK;
}

/* A keyword, a function, or a key of an object. */
static int scan_word(struct scan *s)
{
    const char *word = s->at;
    unsigned line = s->line;
    bool key_place = innermost(s) == '{' && (s->before == '{' || s->before == ',');
    size_t len;
    int st;

    while (is_word(*s->at) || (s->at[0] == ':' && s->at[1] == ':' && is_word_start(s->at[2])))
        s->at += *s->at == ':' ? 2 : 1;
    len = (size_t)(s->at - word);
    s->before = 'w';
    st = scan_blank(s);
    if (st != ST_OK)
        return st;
    if (key_place && (*s->at == ':' || *s->at == ',' || *s->at == '}'))
        return ST_OK;
    /* `{a: if . then 1, input else 2 end}`: the comma in there does not begin a key */
    if (len == 2 && memcmp(word, "if", 2) == 0)
        return scan_open(s, 'i');
    if (len == 3 && memcmp(word, "end", 3) == 0) {
        if (innermost(s) != 'i')
            return err_set(s->err, ST_INVALID, "%s:%u: end without if", s->name, line);
        s->depth--;
        return ST_OK;
    }
    return scan_check_word(s, word, len, line);
}

/* jq 1.6 allows blanks and comments between the $ and the name. */
static int scan_variable(struct scan *s)
{
    char name[sizeof "$__prog_args"] = "$";
    unsigned line = s->line;
    const char *word;
    size_t len;
    int st;

    s->at++;
    st = scan_blank(s);
    if (st != ST_OK)
        return st;
    word = s->at;
    while (is_word(*s->at))
        s->at++;
    len = (size_t)(s->at - word);
    s->before = 'w';
    if (len >= sizeof name - 1)
        return ST_OK;
    memcpy(name + 1, word, len);
    return scan_check_word(s, name, len + 1, line);
}

/* A number takes a following e with it only if that is an exponent: 1e5, but not 1env. */
static void scan_number(struct scan *s)
{
    const char *e;

    while (is_digit(*s->at))
        s->at++;
    if (*s->at == '.')
        s->at++;
    while (is_digit(*s->at))
        s->at++;
    if (*s->at == 'e' || *s->at == 'E') {
        e = s->at + 1;
        if (*e == '+' || *e == '-')
            e++;
        if (is_digit(*e))
            s->at = e;
        while (is_digit(*s->at))
            s->at++;
    }
    s->before = '0';
}

static int scan_token(struct scan *s)
{
    char c = *s->at;
    int st;

    if (is_word_start(c))
        return scan_word(s);
    if (is_digit(c) || (c == '.' && is_digit(s->at[1]))) {
        scan_number(s);
        return ST_OK;
    }
    switch (c) {
    case '"':
        s->at++;
        st = scan_open(s, '"');
        return st == ST_OK ? scan_string(s) : st;
    case '(':
    case '[':
    case '{':
        s->at++;
        s->before = c;
        return scan_open(s, c);
    case ')':
    case ']':
    case '}':
        return scan_close(s, c);
    case '$':
        return scan_variable(s);
    case '.': /* a field's name belongs to its dot; `..` is a word of its own */
    case '@': /* so does a format's */
        s->at++;
        if (c == '.' && *s->at == '.')
            s->at++;
        else if (c == '@' || is_word_start(*s->at))
            while (is_word(*s->at))
                s->at++;
        s->before = c;
        return ST_OK;
    default:
        s->at++;
        s->before = c;
        return ST_OK;
    }
}

static int check_words(struct jqvm *q, const char *program, struct errmsg *err)
{
    struct scan s = {.q = q, .name = q->name, .at = program, .line = 1, .err = err};
    int st = scan_blank(&s);

    while (st == ST_OK && *s.at != '\0') {
        st = scan_token(&s);
        if (st == ST_OK)
            st = scan_blank(&s);
    }
    return st == ST_OK && s.depth > 0 ? scan_never_closed(&s) : st;
}

/* libjq reads ~/.jq, if that is a file, as if it stood before every program; there is no switch against it. */
static int check_home(const char *name, struct errmsg *err)
{
    char buffer[PASSWD_BYTES];
    const char *home = getenv("HOME");
    struct passwd entry;
    struct passwd *found = NULL;
    struct stat info;
    char *path;
    int st = ST_OK;

    if (home == NULL && getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found != NULL)
        home = found->pw_dir;
    if (home == NULL)
        return ST_OK;
    path = mem_printf("%s/.jq", home);
    if (stat(path, &info) == 0 && !S_ISDIR(info.st_mode))
        st = err_set(err, ST_INVALID,
                     "%s:1: jq would mix %s into this program; move that file away, or run with another HOME", name,
                     path);
    mem_free(path);
    return st;
}

/* ---- compiling and running -------------------------------------------------------------------------------------- */

/* libjq and oniguruma set up their global state at first use, without a lock: use everything once before threads can.
 */
static void warm_up(void)
{
    struct jqvm quiet = {.name = NULL};
    jq_state *jq = jq_init();

    if (jq == NULL)
        return;
    jq_set_error_cb(jq, on_message, &quiet);
    if (jq_compile(jq, "[., 0.5] | tojson | test(\"[0-9]\"; \"x\")") != 0) {
        jq_start(jq, jv_number(1.5), 0);
        jv_free(jq_next(jq));
    }
    jq_teardown(&jq);
}

int jqvm_compile(const char *name, const char *program, struct jqvm **ret, struct errmsg *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct jqvm *q = NULL;
    int st;

    st = check_home(name, err);
    if (st != ST_OK)
        return st;
    pthread_once(&once, warm_up);
    q = mem_zalloc(sizeof *q);
    q->name = name;
    buf_init(&q->said, SAID_MAX_BYTES);
    q->jq = jq_init();
    if (q->jq == NULL) {
        st = err_set(err, ST_INTERNAL, "%s: libjq cannot start", name);
        goto done;
    }
    jq_set_error_cb(q->jq, on_message, q);
    jq_set_attr(q->jq, jv_string("JQ_LIBRARY_PATH"), jv_array());
    st = check_words(q, program, err);
    if (st != ST_OK)
        goto done;
    if (jq_compile(q->jq, program) == 0) {
        if (q->said.len > 0)
            st = err_set(err, ST_INVALID, "%s", buf_text(&q->said));
        else
            st = err_set(err, ST_INVALID, "%s:1: jq does not accept the program", name);
        goto done;
    }
    q->name = NULL;
    *ret = q;
    q = NULL;
done:
    jqvm_free(q);
    return st;
}

void jqvm_free(struct jqvm *q)
{
    if (q == NULL)
        return;
    if (q->jq != NULL)
        jq_teardown(&q->jq);
    buf_free(&q->said);
    mem_free(q);
}

/* An error, not just nothing. Leaves the jv to the caller. */
static bool has_message(jv value)
{
    return !jv_is_valid(value) && jv_invalid_has_msg(jv_copy(value)) != 0;
}

/* Not jv_parse_sized(): its error messages quote the whole input. */
static int parse_input(const char *input, size_t len, jv *ret, struct errmsg *err)
{
    jv_parser *parser;
    jv value;
    jv more = jv_invalid();
    int st = ST_INVALID;

    if (len > INT_MAX)
        return err_set(err, ST_INVALID, "the input is larger than 2 GiB");
    parser = jv_parser_new(0);
    jv_parser_set_buf(parser, input, (int)len, 0);
    value = jv_parser_next(parser);
    if (jv_is_valid(value))
        more = jv_parser_next(parser);
    if (has_message(value) || has_message(more)) {
        jv reason = jv_to_text(jv_invalid_get_msg(jv_copy(jv_is_valid(value) ? more : value)));

        st = err_set(err, ST_INVALID, "the input is not JSON that jq can read: %s", jv_string_value(reason));
        jv_free(reason);
    } else if (!jv_is_valid(value)) {
        st = err_set(err, ST_INVALID, "the input is empty");
    } else if (jv_is_valid(more)) {
        st = err_set(err, ST_INVALID, "the input is more than one JSON text");
    } else {
        *ret = jv_copy(value);
        st = ST_OK;
    }
    jv_free(value);
    jv_free(more);
    jv_parser_free(parser);
    return st;
}

/* jq prints a remark between < and > for what is nested too deeply; outside strings JSON has no such character. */
static bool is_cut(const char *text)
{
    bool in_string = false;

    if (strchr(text, '<') == NULL)
        return false;
    for (; *text != '\0'; text++) {
        if (*text == '"')
            in_string = !in_string;
        else if (in_string && *text == '\\' && text[1] != '\0')
            text++;
        else if (!in_string && *text == '<')
            return true;
    }
    return false;
}

static int take_output(jv result, struct buf *out, struct errmsg *err)
{
    jv owner = jv_dump_string(result, 0);
    const char *text = jv_string_value(owner);
    size_t len = (size_t)jv_string_length_bytes(jv_copy(owner));
    int st = ST_OK;

    if (is_cut(text))
        st = err_set(err, ST_INVALID, "the output is nested too deeply");
    else if (out->failed || len > out->max - out->len)
        st = err_set(err, ST_LIMIT, "the output of %zu bytes is larger than allowed", len);
    else
        buf_add(out, text, len);
    jv_free(owner);
    return st;
}

/* ---- trees in and out ---------------------------------------------------------------------------------------------- */

enum { DEPTH_MAX = 255 }; /* what jq 1.6 reads and prints */

static jv jv_of_text(const char *s)
{
    struct buf wrapped;
    jv value;

    if (!json_needs_wrap(s))
        return jv_string(s);
    buf_init(&wrapped, SIZE_MAX / 4);
    json_wrap(s, &wrapped);
    value = jv_string_sized(buf_text(&wrapped), (int)wrapped.len);
    buf_free(&wrapped);
    return value;
}

static jv jv_of_number(const struct json *j)
{
    const char *digits = json_exact_digits(j);
    double number = 0;
    char *wrapped;
    jv value;

    if (digits == NULL) {
        (void)json_num(j, &number);
        return jv_number(number);
    }
    wrapped = json_wrap_digits(digits);
    value = jv_string(wrapped);
    mem_free(wrapped);
    return value;
}

/* Sets *too_deep instead of going on for ever. */
static jv jv_of(const struct json *j, int depth, bool *too_deep)
{
    jv value;

    switch (json_type(j)) {
    case JSON_NULL:
        return jv_null();
    case JSON_FALSE:
        return jv_false();
    case JSON_TRUE:
        return jv_true();
    case JSON_NUMBER:
        return jv_of_number(j);
    case JSON_STRING:
        return jv_of_text(json_str(j));
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    if (depth >= DEPTH_MAX) {
        *too_deep = true;
        return jv_null();
    }
    if (json_type(j) == JSON_ARRAY) {
        value = jv_array();
        for (const struct json *e = json_first(j); e != NULL; e = json_next(e))
            value = jv_array_append(value, jv_of(e, depth + 1, too_deep));
    } else {
        value = jv_object();
        for (const struct json *m = json_first(j); m != NULL; m = json_next(m))
            value = jv_object_set(value, jv_of_text(json_key(m)), jv_of(m, depth + 1, too_deep));
    }
    return value;
}

/* A string of jq may hold U+0000, which is two bytes in ours. Caller: mem_free. */
static char *text_of_jv(jv value)
{
    const char *bytes = jv_string_value(value);
    size_t len = (size_t)jv_string_length_bytes(jv_copy(value));
    struct buf text;

    if (memchr(bytes, '\0', len) == NULL)
        return mem_strndup(bytes, len);
    buf_init(&text, SIZE_MAX / 4);
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\0')
            buf_add(&text, "\xc0\x80", 2);
        else
            buf_putc(&text, bytes[i]);
    }
    return buf_take(&text);
}

static struct json *json_of(jv value, int depth, bool *too_deep);

static struct json *json_of_container(jv value, int depth, bool *too_deep)
{
    struct json *j;

    if (jv_get_kind(value) == JV_KIND_ARRAY) {
        j = json_array();
        for (int i = 0; i < jv_array_length(jv_copy(value)); i++)
            json_push(j, json_of(jv_array_get(jv_copy(value), i), depth + 1, too_deep));
        return j;
    }
    j = json_object();
    for (int i = jv_object_iter(value); jv_object_iter_valid(value, i); i = jv_object_iter_next(value, i)) {
        jv key = jv_object_iter_key(value, i);
        char *text = text_of_jv(key);
        char *plain = json_unwrap_key(text);

        json_add(j, plain != NULL ? plain : text, json_of(jv_object_iter_value(value, i), depth + 1, too_deep));
        mem_free(plain);
        mem_free(text);
        jv_free(key);
    }
    return j;
}

/* Takes the jv. */
static struct json *json_of(jv value, int depth, bool *too_deep)
{
    struct json *j = NULL;
    char *text;
    double n;

    switch (jv_get_kind(value)) {
    case JV_KIND_INVALID:
    case JV_KIND_NULL:
        j = json_null();
        break;
    case JV_KIND_FALSE:
        j = json_bool(false);
        break;
    case JV_KIND_TRUE:
        j = json_bool(true);
        break;
    case JV_KIND_NUMBER: /* as jq prints it: not a number is null, and infinite the largest there is */
        n = jv_number_value(value);
        j = isinf(n) ? json_number(n > 0 ? DBL_MAX : -DBL_MAX) : json_number(n);
        break;
    case JV_KIND_STRING:
        text = text_of_jv(value);
        j = json_unwrapped(text);
        mem_free(text);
        break;
    case JV_KIND_ARRAY:
    case JV_KIND_OBJECT:
        if (depth >= DEPTH_MAX) {
            *too_deep = true;
            j = json_null();
        } else {
            j = json_of_container(value, depth, too_deep);
        }
        break;
    }
    jv_free(value);
    return j;
}

/* The first output, or why there is none. What jq still holds is the caller's to let go of. */
static int first_output(struct jqvm *q, jv input, jv *ret, struct errmsg *err)
{
    jv result;
    jv reason;
    int st;

    jq_start(q->jq, input, 0);
    result = jq_next(q->jq);
    if (jv_is_valid(result)) {
        *ret = result;
        return ST_OK;
    }
    if (!has_message(result)) {
        jv_free(result);
        return err_set(err, ST_NOT_FOUND, "the program gave no output");
    }
    reason = jv_to_text(jv_invalid_get_msg(result));
    st = err_set(err, ST_INVALID, "%s", jv_string_value(reason));
    jv_free(reason);
    return st;
}

int jqvm_call(struct jqvm *q, const char *function, const struct json *context, size_t out_max, struct json **ret,
              struct errmsg *err)
{
    bool too_deep = false;
    jv input = jv_object_set(jv_object(), jv_string("fn"), jv_string(function));
    jv result;
    int st;

    input = jv_object_set(input, jv_string("ctx"), jv_of(context, 1, &too_deep));
    if (too_deep) {
        jv_free(input);
        return err_set(err, ST_LIMIT, "the value is nested too deeply: the connector can read %d levels", DEPTH_MAX);
    }
    st = first_output(q, input, &result, err);
    if (st == ST_OK) {
        struct json *j = json_of(result, 0, &too_deep);

        if (too_deep)
            st = err_set(err, ST_LIMIT, "the request would be nested deeper than %d levels", DEPTH_MAX);
        else if (json_bytes(j) > out_max)
            st = err_set(err, ST_LIMIT, "the output of %zu bytes is larger than allowed", json_bytes(j));
        else
            *ret = j;
        if (st != ST_OK)
            json_free(j);
    }
    jq_start(q->jq, jv_null(), 0); /* lets go of the input and of what is half computed */
    return st;
}

int jqvm_run(struct jqvm *q, const char *input, size_t len, struct buf *out, struct errmsg *err)
{
    jv value;
    jv result;
    int st;

    st = parse_input(input, len, &value, err);
    if (st != ST_OK)
        return st;
    st = first_output(q, value, &result, err);
    if (st == ST_OK)
        st = take_output(result, out, err);
    jq_start(q->jq, jv_null(), 0); /* lets go of the input and of what is half computed */
    return st;
}
