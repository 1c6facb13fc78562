#include "base/db_params.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

/* Object identifiers of the types that travel as parameters or results: fixed in PostgreSQL's pg_type.dat. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_BOOL_ARRAY = 1000,
    OID_BYTEA_ARRAY = 1001,
    OID_INT4_ARRAY = 1007,
    OID_TEXT_ARRAY = 1009,
    OID_INT8_ARRAY = 1016,
    OID_TIMESTAMPTZ = 1184,
    OID_TIMESTAMPTZ_ARRAY = 1185,
};

/* ---- parameters --------------------------------------------------------------------------------------------------- */

void db_params_init(struct db_params *p)
{
    p->count = 0;
}

static unsigned next_param(struct db_params *p, uint32_t type, const char *value, int length)
{
    unsigned i = p->count;

    if (i >= DB_PARAMS_MAX) {
        fputs("atsyncd: too many SQL parameters\n", stderr);
        abort();
    }
    p->types[i] = type;
    p->values[i] = value;
    p->lengths[i] = length;
    p->count++;
    return i;
}

static void add_inline(struct db_params *p, uint32_t type, const void *bytes, int length)
{
    unsigned i = next_param(p, type, NULL, length);

    memcpy(p->inline_bytes[i], bytes, (size_t)length);
    p->values[i] = p->inline_bytes[i];
}

void db_add_text(struct db_params *p, const char *s)
{
    next_param(p, OID_TEXT, s, s ? (int)strlen(s) : 0);
}

void db_add_i64(struct db_params *p, int64_t n)
{
    uint64_t wire = htobe64((uint64_t)n);

    add_inline(p, OID_INT8, &wire, sizeof wire);
}

void db_add_i32(struct db_params *p, int32_t n)
{
    uint32_t wire = htobe32((uint32_t)n);

    add_inline(p, OID_INT4, &wire, sizeof wire);
}

void db_add_bool(struct db_params *p, bool b)
{
    char wire = b ? 1 : 0;

    add_inline(p, OID_BOOL, &wire, 1);
}

void db_add_time(struct db_params *p, int64_t unix_us)
{
    uint64_t wire;

    if (unix_us == INT64_MIN) {
        next_param(p, OID_TIMESTAMPTZ, NULL, 0);
        return;
    }
    wire = htobe64((uint64_t)(unix_us - DB_EPOCH_US));
    add_inline(p, OID_TIMESTAMPTZ, &wire, sizeof wire);
}

void db_add_bytes(struct db_params *p, const void *bytes, size_t len)
{
    next_param(p, OID_BYTEA, bytes, (int)len);
}

/* ---- arrays in PostgreSQL's binary format: dimensions, has-null, element type, size, lower bound, then the elements ------ */

struct db_array {
    enum db_elem type;
    uint32_t count;
    bool has_null;
    struct buf bytes; /* begins with room for the header */
};

enum { ARRAY_HEADER_BYTES = 20 };

struct db_array *db_array_new(enum db_elem type)
{
    struct db_array *a = mem_zalloc(sizeof *a);

    a->type = type;
    buf_init(&a->bytes, INT32_MAX / 2);
    db_array_reset(a);
    return a;
}

void db_array_free(struct db_array *a)
{
    if (a) {
        buf_free(&a->bytes);
        mem_free(a);
    }
}

void db_array_reset(struct db_array *a)
{
    static const char header[ARRAY_HEADER_BYTES] = {0};

    buf_reset(&a->bytes);
    buf_add(&a->bytes, header, sizeof header);
    a->count = 0;
    a->has_null = false;
}

static void put_u32(struct buf *b, uint32_t n)
{
    uint32_t wire = htobe32(n);

    buf_add(b, &wire, sizeof wire);
}

static void add_null(struct db_array *a)
{
    put_u32(&a->bytes, UINT32_MAX);
    a->has_null = true;
    a->count++;
}

void db_array_bytes(struct db_array *a, const void *bytes, size_t len)
{
    if (!bytes) {
        add_null(a);
        return;
    }
    put_u32(&a->bytes, (uint32_t)len);
    buf_add(&a->bytes, bytes, len);
    a->count++;
}

void db_array_text(struct db_array *a, const char *s)
{
    db_array_bytes(a, s, s ? strlen(s) : 0);
}

void db_array_i64(struct db_array *a, int64_t n)
{
    uint64_t wire8;
    uint32_t wire4;
    char wire1;

    if (n == DB_NULL_I64) {
        add_null(a);
        return;
    }
    switch (a->type) {
    case DB_TIME_ARRAY:
        wire8 = htobe64((uint64_t)(n - DB_EPOCH_US));
        db_array_bytes(a, &wire8, sizeof wire8);
        break;
    case DB_I64_ARRAY:
        wire8 = htobe64((uint64_t)n);
        db_array_bytes(a, &wire8, sizeof wire8);
        break;
    case DB_I32_ARRAY:
        wire4 = htobe32((uint32_t)(int32_t)n);
        db_array_bytes(a, &wire4, sizeof wire4);
        break;
    case DB_BOOL_ARRAY:
        wire1 = n ? 1 : 0;
        db_array_bytes(a, &wire1, 1);
        break;
    case DB_TEXT_ARRAY:
    case DB_BYTES_ARRAY:
        break; /* not numbers */
    }
}

static uint32_t array_oid(enum db_elem type, uint32_t *ret_element)
{
    switch (type) {
    case DB_TEXT_ARRAY:
        *ret_element = OID_TEXT;
        return OID_TEXT_ARRAY;
    case DB_BYTES_ARRAY:
        *ret_element = OID_BYTEA;
        return OID_BYTEA_ARRAY;
    case DB_I64_ARRAY:
        *ret_element = OID_INT8;
        return OID_INT8_ARRAY;
    case DB_I32_ARRAY:
        *ret_element = OID_INT4;
        return OID_INT4_ARRAY;
    case DB_BOOL_ARRAY:
        *ret_element = OID_BOOL;
        return OID_BOOL_ARRAY;
    case DB_TIME_ARRAY:
        *ret_element = OID_TIMESTAMPTZ;
        return OID_TIMESTAMPTZ_ARRAY;
    }
    abort();
}

void db_add_array(struct db_params *p, struct db_array *a)
{
    uint32_t element;
    uint32_t type = array_oid(a->type, &element);
    uint32_t header[5] = {htobe32(a->count > 0 ? 1 : 0), htobe32(a->has_null ? 1 : 0), htobe32(element),
                          htobe32(a->count), htobe32(1)};

    memcpy(a->bytes.data, header, sizeof header);
    next_param(p, type, a->bytes.data, a->count > 0 ? (int)a->bytes.len : 12); /* an empty array has no dimension */
}
