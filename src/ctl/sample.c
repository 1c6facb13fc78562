#include "ctl/sample.h"

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "lib/crypto.h"

enum { MESSAGE_MAX_BYTES = 400, ID_BYTES = 10 };

static int no_such_sample(const char *type, struct errmsg *err)
{
    const char **names = mem_array(sample_count, sizeof *names);
    const char *near;
    struct buf list;

    buf_init(&list, MESSAGE_MAX_BYTES);
    for (size_t i = 0; i < sample_count; i++) {
        names[i] = samples[i].name;
        buf_printf(&list, "%s%s", i > 0 ? ", " : "", samples[i].name);
    }
    near = suggest(type, names, sample_count);
    if (near) {
        err_set(err, ST_NOT_FOUND, "there is no sample \"%s\", did you mean %s?", type, near);
    } else {
        err_set(err, ST_NOT_FOUND, "there is no sample \"%s\"; there are %s", type, buf_text(&list));
    }
    buf_free(&list);
    mem_free(names);
    return ST_NOT_FOUND;
}

static void set_new_id(struct json *tree)
{
    uint8_t bytes[ID_BYTES];
    char hex[2 * ID_BYTES + 1];
    char *id;

    crypto_random(bytes, sizeof bytes);
    crypto_hex(bytes, sizeof bytes, hex);
    id = mem_printf("evt_sample_%s", hex);
    json_set_str(tree, "eventId", id);
    mem_free(id);
}

int sample_event(const char *type, struct json **ret, struct errmsg *err)
{
    for (size_t i = 0; i < sample_count; i++) {
        struct json *tree = NULL;
        int st = json_parse(samples[i].text, strlen(samples[i].text), &tree, err);

        if (st != ST_OK) {
            return st;
        }
        if (text_ieq(samples[i].name, type) || text_ieq(json_get_str(tree, "event"), type)) {
            set_new_id(tree);
            *ret = tree;
            return ST_OK;
        }
        json_free(tree);
    }
    return no_such_sample(type, err);
}

/* ---- changing: a tree is rebuilt along the path, everything beside it is copied */

static struct json *with_value(const struct json *old, const char *path, const struct json *value, struct errmsg *err);

static struct json *with_element(const struct json *old, const char *name, const char *rest, const struct json *value,
                                 struct errmsg *err)
{
    int64_t index, at = 0;
    struct json *child;
    struct json *array;

    if (!text_to_i64(name, 0, (int64_t)json_count(old), &index)) {
        err_set(err, ST_INVALID, "\"%s\" is no element of this list: there are %zu, counted from 0", name,
                json_count(old));
        return NULL;
    }
    array = json_array();
    for (const struct json *e = json_first(old); e; e = json_next(e), at++) {
        child = at == index ? with_value(e, rest, value, err) : json_copy(e);
        if (!child) {
            json_free(array);
            return NULL;
        }
        json_push(array, child);
    }
    if (index == at) {
        child = with_value(NULL, rest, value, err);
        if (!child) {
            json_free(array);
            return NULL;
        }
        json_push(array, child);
    }
    return array;
}

/* child is given away; a member that was there keeps its place. */
static struct json *with_member(const struct json *old, const char *name, struct json *child)
{
    struct json *object = json_object();

    for (const struct json *m = json_first(old); m; m = json_next(m)) {
        bool here = text_eq(json_key(m), name);

        json_set(object, json_key(m), here ? child : json_copy(m));
        child = here ? NULL : child;
    }
    if (child) {
        json_set(object, name, child);
    }
    return object;
}

/* path NULL: the value itself. Returns NULL, with *err, if the path leads nowhere. */
static struct json *with_value(const struct json *old, const char *path, const struct json *value, struct errmsg *err)
{
    struct json *copy = NULL;
    struct json *child;
    const char *dot;
    char *name;

    if (!path) {
        return json_copy(value);
    }
    dot = strchr(path, '.');
    name = mem_strndup(path, dot ? (size_t)(dot - path) : strlen(path));
    if (*name == '\0') {
        err_set(err, ST_INVALID, "the path has an empty part: write data.candidateProfileExternalId=ats_7");
    } else if (json_type(old) == JSON_ARRAY) {
        copy = with_element(old, name, dot ? dot + 1 : NULL, value, err);
    } else if (old && json_type(old) != JSON_OBJECT && json_type(old) != JSON_NULL) {
        err_set(err, ST_INVALID, "what \"%s\" would be a member of is not an object", name);
    } else {
        child = with_value(json_get(old, name), dot ? dot + 1 : NULL, value, err);
        copy = child ? with_member(old, name, child) : NULL;
    }
    mem_free(name);
    return copy;
}

int sample_set(struct json **tree, const char *assignment, struct errmsg *err)
{
    const char *equals = strchr(assignment, '=');
    struct json *value = NULL;
    struct json *changed;
    char *path;

    if (!equals) {
        return err_set(err, ST_INVALID, "\"%s\" is no assignment: write data.candidateProfileExternalId=ats_7",
                       assignment);
    }
    if (json_parse(equals + 1, strlen(equals + 1), &value, NULL) != ST_OK) {
        value = json_string(equals + 1);
    }
    path = mem_strndup(assignment, (size_t)(equals - assignment));
    changed = with_value(*tree, path, value, err);
    mem_free(path);
    json_free(value);
    if (!changed) {
        return ST_INVALID;
    }
    json_free(*tree);
    *tree = changed;
    return ST_OK;
}
