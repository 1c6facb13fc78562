/*
 * Is the schema what the migrations make? Both are texts of sql/stmt/schema_catalog.sql: a line for each table, view and
 * function, and below it, indented, its columns, constraints and indexes.
 */
#include "base/mem.h"
#include "base/text.h"
#include "ctl/doctor.h"

enum kind { KIND_THING, KIND_COLUMN, KIND_CONSTRAINT, KIND_INDEX };

struct line {
    enum kind kind;
    const char *owner; /* "table candidate"; of a thing: itself */
    const char *name;
    const char *text; /* without indentation and comment */
    bool matched;
};
struct lines {
    struct line *items;
    size_t count;
};

/* ---- reading */

static const char *word(struct arena *arena, const char *s, size_t nth)
{
    for (; nth > 0; nth--) {
        s += strcspn(s, " ");
        s += strspn(s, " ");
    }
    return arena_strndup(arena, s, strcspn(s, " ("));
}

static bool is_constraint(const char *text)
{
    static const char *const kinds[] = {" PRIMARY KEY", " UNIQUE", " CHECK", " FOREIGN KEY", " EXCLUDE"};
    size_t len = strcspn(text, " ");

    for (size_t i = 0; i < ATS_COUNT(kinds); i++) {
        if (text_starts(text + len, kinds[i])) {
            return true;
        }
    }
    return false;
}

static struct line read_line(struct arena *arena, const char *s, size_t len, const char *owner)
{
    struct line l = {.owner = owner};
    char *text = arena_strndup(arena, s, len);
    char *comment = strstr(text, " -- ");

    if (comment) {
        *comment = '\0';
    }
    l.text = text + strspn(text, " ");
    if (*text != ' ') {
        l.kind = KIND_THING;
        l.name = word(arena, l.text, 1);
        l.owner = arena_printf(arena, "%s %s", word(arena, l.text, 0), l.name);
    } else if (text_starts(l.text, "CREATE ")) {
        l.kind = KIND_INDEX;
        l.name = word(arena, l.text, text_starts(l.text, "CREATE UNIQUE ") ? 3 : 2);
    } else {
        l.kind = is_constraint(l.text) ? KIND_CONSTRAINT : KIND_COLUMN;
        l.name = word(arena, l.text, 0);
    }
    return l;
}

static struct lines read_lines(struct arena *arena, const char *text)
{
    struct lines all = {.count = 0};
    const char *owner = "";
    size_t room = 0;

    for (const char *at = text; *at != '\0'; at += *at == '\n') {
        size_t len = strcspn(at, "\n");

        if (all.count == room) {
            room = room ? 2 * room : 256;
            all.items = mem_grow(all.items, room, sizeof *all.items);
        }
        all.items[all.count] = read_line(arena, at, len, owner);
        owner = all.items[all.count++].owner;
        at += len;
    }
    return all;
}

/* ---- comparing */

static bool is_same(const struct line *a, const struct line *b)
{
    return a->kind == b->kind && strcmp(a->owner, b->owner) == 0 && strcmp(a->text, b->text) == 0;
}

static void match(struct lines *expected, struct lines *actual)
{
    for (size_t i = 0; i < expected->count; i++) {
        for (size_t k = 0; k < actual->count && !expected->items[i].matched; k++) {
            if (!actual->items[k].matched && is_same(&expected->items[i], &actual->items[k])) {
                expected->items[i].matched = actual->items[k].matched = true;
            }
        }
    }
}

/* An unmatched line of the other side for the same thing, which is defined otherwise there. */
static struct line *counterpart(struct lines *in, const struct line *of)
{
    for (size_t i = 0; i < in->count; i++) {
        struct line *l = &in->items[i];

        if (!l->matched && l->kind == of->kind && strcmp(l->owner, of->owner) == 0 && strcmp(l->name, of->name) == 0) {
            return l;
        }
    }
    return NULL;
}

static bool has_thing(const struct lines *in, const char *owner)
{
    for (size_t i = 0; i < in->count; i++) {
        if (in->items[i].kind == KIND_THING && strcmp(in->items[i].owner, owner) == 0) {
            return true;
        }
    }
    return false;
}

/* The index of a primary key or unique constraint goes with it. */
static bool has_constraint(const struct lines *in, const struct line *index)
{
    for (size_t i = 0; i < in->count; i++) {
        const struct line *l = &in->items[i];

        if (l->kind == KIND_CONSTRAINT && strcmp(l->owner, index->owner) == 0 && strcmp(l->name, index->name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- telling */

static const char migrate_why[] =
    "Somebody or something has changed it, or a restore was not complete. The daemon relies on "
    "it: statements may fail, or take very long.";

/* "CREATE INDEX x ON …" in a way that nobody has to wait for. */
static char *make_index(const char *definition)
{
    const char *name = strstr(definition, " INDEX ");

    return mem_printf("%.*s INDEX CONCURRENTLY %s", (int)(name - definition), definition, name + strlen(" INDEX "));
}

static void tell_missing(struct diagnoses *d, const struct line *l)
{
    switch (l->kind) {
    case KIND_THING:
        diagnose(d, SEVERITY_ERROR, "schema", mem_printf("The %s is missing.", l->owner), mem_strdup(migrate_why),
                 mem_strdup("Restore it from a backup. A view or function: make it anew from "
                            "sql/migrations (/usr/share/atsyncd/sql/migrations)."));
        break;
    case KIND_COLUMN:
        diagnose(d, SEVERITY_ERROR, "schema", mem_printf("The column %s of the %s is missing.", l->name, l->owner),
                 mem_strdup(migrate_why),
                 mem_printf("It has to be: %s. A table gets it by alter table add column; a view is made anew from "
                            "sql/migrations.",
                            l->text));
        break;
    case KIND_CONSTRAINT:
        diagnose(d, SEVERITY_ERROR, "schema", mem_printf("The constraint %s of the %s is missing.", l->name, l->owner),
                 mem_strdup(migrate_why),
                 mem_printf("alter table atsync.%s add constraint %s", l->owner + strlen("table "), l->text));
        break;
    case KIND_INDEX:
        diagnose(d, SEVERITY_ERROR, "schema", mem_printf("The index %s of the %s is missing.", l->name, l->owner),
                 mem_strdup("Without it the whole table is read again and again: claiming, delivering or looking "
                            "something up gets slower the more there is."),
                 make_index(l->text));
        break;
    }
}

static void tell_other(struct diagnoses *d, const struct line *expected, const struct line *actual)
{
    static const char *const names[] = {
        [KIND_COLUMN] = "column", [KIND_CONSTRAINT] = "constraint", [KIND_INDEX] = "index"};

    if (expected->kind == KIND_THING) {
        diagnose(
            d, SEVERITY_WARNING, "schema",
            mem_printf("The %s is \"%s\", not \"%s\".", expected->owner, actual->text, expected->text),
            mem_strdup("Storage settings are chosen for how a table is used: the queue's rows, for one, are updated "
                       "in place only with room beside them."),
            mem_strdup("If nobody has meant it: alter table set (...) as it was."));
        return;
    }
    diagnose(d, SEVERITY_ERROR, "schema",
             mem_printf("The %s %s of the %s is \"%s\", not \"%s\".", names[expected->kind], expected->name,
                        expected->owner, actual->text, expected->text),
             mem_strdup(migrate_why), mem_strdup("Change it back to the latter."));
}

static void tell_extra(struct diagnoses *d, const struct line *l)
{
    switch (l->kind) {
    case KIND_THING:
        diagnose(d, SEVERITY_INFO, "schema", mem_printf("The %s is not of this release.", l->owner),
                 mem_strdup("What others put into the schema atsync can stand in the way of a migration."),
                 mem_strdup("Move it into another schema."));
        break;
    case KIND_INDEX:
        diagnose(d, SEVERITY_INFO, "schema",
                 mem_printf("The index %s of the %s is not of this release.", l->name, l->owner),
                 mem_strdup("It costs every write, and keeps rows from being updated in place if its columns change."),
                 mem_printf("If nobody needs it: drop index concurrently atsync.%s", l->name));
        break;
    case KIND_COLUMN:
    case KIND_CONSTRAINT:
        diagnose(d, SEVERITY_WARNING, "schema",
                 mem_printf("The %s %s of the %s is not of this release: %s.",
                            l->kind == KIND_COLUMN ? "column" : "constraint", l->name, l->owner, l->text),
                 mem_strdup("It can refuse what the daemon writes, and stand in the way of a migration."),
                 mem_strdup("Take it away if nobody has meant it."));
        break;
    }
}

void judge_schema(struct diagnoses *d, const char *expected_text, const char *actual_text)
{
    struct arena *arena = arena_new();
    struct lines expected = read_lines(arena, expected_text);
    struct lines actual = read_lines(arena, actual_text);

    match(&expected, &actual);
    for (size_t i = 0; i < expected.count; i++) {
        const struct line *l = &expected.items[i];
        struct line *other = l->matched ? NULL : counterpart(&actual, l);
        bool is_told = l->matched || (l->kind != KIND_THING && !has_thing(&actual, l->owner)) ||
                       (l->kind == KIND_INDEX && has_constraint(&expected, l) && !has_constraint(&actual, l));

        if (other) {
            other->matched = true;
        }
        if (!is_told && other) {
            tell_other(d, l, other);
        } else if (!is_told) {
            tell_missing(d, l);
        }
    }
    for (size_t i = 0; i < actual.count; i++) {
        const struct line *l = &actual.items[i];

        if (!l->matched && (l->kind == KIND_THING || has_thing(&expected, l->owner)) &&
            !(l->kind == KIND_INDEX && has_constraint(&actual, l))) {
            tell_extra(d, l);
        }
    }
    mem_free(expected.items);
    mem_free(actual.items);
    arena_free(arena);
}
