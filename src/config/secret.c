#include "config/secret.h"

#include <stdbool.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "config/file.h"

#define CREDENTIAL_PREFIX "secret_"
enum { SECRET_MAX_BYTES = 64 * 1024, OTHERS = 07 };

/* Is path directly below $CREDENTIALS_DIRECTORY? systemd keeps that directory closed and makes the files itself. */
static bool is_credential_path(const char *path)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");

    if (dir == NULL || *dir == '\0' || !text_starts(path, dir))
        return false;
    const char *rest = path + strlen(dir);
    return *rest == '/' && strchr(rest + 1, '/') == NULL;
}

static int from_file(const char *path, unsigned forbidden_mode, char **ret, struct errmsg *err)
{
    char *text = NULL;
    size_t len = 0;
    /* the newlines at the end do not count */
    int st = file_read(path, SECRET_MAX_BYTES + 2, forbidden_mode, &text, &len, NULL, err);

    if (st != ST_OK)
        return st;
    if (memchr(text, '\0', len) != NULL) {
        mem_wipe(text, len);
        mem_free(text);
        return err_set(err, ST_INVALID, "%s holds a NUL byte: a secret must be text", path);
    }
    *ret = text;
    return ST_OK;
}

static int from_environment(const char *name, char **ret, struct errmsg *err)
{
    const char *value = getenv(name);

    if (value == NULL)
        return err_set(err, ST_NOT_FOUND, "the environment variable %s is not set", name);
    *ret = mem_strdup(value);
    return ST_OK;
}

/*
 * What the shipped unit makes of a file NAME in that directory is the credential secret_NAME. Root finds the file itself, so
 * that atsyncctl needs no running daemon; nobody else may look into the directory.
 */
static char *credential_at_rest(const char *name)
{
    char *path = text_starts(name, CREDENTIAL_PREFIX)
                     ? mem_printf(ATSYNC_SYSCONFDIR "/atsyncd/credentials/%s", name + strlen(CREDENTIAL_PREFIX))
                     : NULL;

    if (path && access(path, F_OK) != 0) {
        mem_free(path);
        path = NULL;
    }
    return path;
}

static int from_credential(const char *name, char **ret, struct errmsg *err)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    char *at_rest;

    if (*name == '\0' || strchr(name, '/') != NULL || text_eq(name, ".") || text_eq(name, ".."))
        return err_set(err, ST_INVALID, "\"%s\" cannot be the name of a credential: it is a file name without /", name);
    if ((dir == NULL || *dir == '\0') && (at_rest = credential_at_rest(name)) != NULL) {
        int st = from_file(at_rest, OTHERS, ret, err);

        mem_free(at_rest);
        return st;
    }
    if (dir == NULL || *dir == '\0')
        return err_set(err, ST_NOT_FOUND,
                       "no credential %s: CREDENTIALS_DIRECTORY is not set; add LoadCredential=%s:PATH to the unit",
                       name, name);
    char *path = mem_printf("%s/%s", dir, name);
    int st = from_file(path, 0, ret, err);
    if (st != ST_OK)
        st = err_prefix(err, st, "credential %s", name);
    mem_free(path);
    return st;
}

static void cut_newline(char *s)
{
    size_t len = strlen(s);

    if (len == 0 || s[len - 1] != '\n')
        return;
    s[--len] = '\0';
    if (len > 0 && s[len - 1] == '\r')
        s[len - 1] = '\0';
}

int secret_load(enum secret_kind kind, const char *ref, char **ret, struct errmsg *err)
{
    static const char *const what[] = {
        [SECRET_INLINE] = "the secret",
        [SECRET_FILE] = "",
        [SECRET_ENV] = "the environment variable ",
        [SECRET_CREDENTIAL] = "credential ",
    };
    const char *name = kind == SECRET_INLINE ? "" : ref; /* an inline secret is its own reference */
    char *secret = NULL;
    int st = ST_OK;

    switch (kind) {
    case SECRET_INLINE:
        secret = mem_strdup(ref);
        break;
    case SECRET_FILE:
        st = from_file(ref, is_credential_path(ref) ? 0 : OTHERS, &secret, err);
        break;
    case SECRET_ENV:
        st = from_environment(ref, &secret, err);
        break;
    case SECRET_CREDENTIAL:
        st = from_credential(ref, &secret, err);
        break;
    }
    if (st != ST_OK || secret == NULL)
        goto out;
    cut_newline(secret);
    if (*secret == '\0') {
        st = err_set(err, ST_INVALID, "%s%s is empty", what[kind], name);
        goto out;
    }
    if (strlen(secret) > SECRET_MAX_BYTES) {
        st = err_set(err, ST_LIMIT, "%s%s is longer than 64 KiB", what[kind], name);
        goto out;
    }
    *ret = secret;
    secret = NULL;
out:
    mem_free_secret(secret);
    return st;
}
