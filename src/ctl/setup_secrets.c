#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/setup.h"
#include "lib/crypto.h"

enum { SECRET_BYTES = 32, GROUPS_MAX = 256 };

/* ---- which there are */

struct finding_files {
    struct arena *arena;
    struct secret_file *files;
    size_t count;
};

/* Any text will do where we only recognise it again: a signature's secret, a key of our own, a token for our page. */
static bool is_ours(const char *key)
{
    return (text_starts(key, "sources.") && strstr(key, ".signing_secrets")) ||
           text_eq(key, "database.encryption_key") || text_eq(key, "admin.token");
}

static void find_files(struct finding_files *f, const struct yaml *node, const char *key)
{
    const struct yaml *file = node->count == 1 ? yaml_tree_get(node, "file") : NULL;

    if (file && file->kind == YAML_SCALAR) {
        f->files = mem_grow(f->files, f->count + 1, sizeof *f->files);
        f->files[f->count++] =
            (struct secret_file){.key = key, .path = arena_strdup(f->arena, file->scalar), .is_ours = is_ours(key)};
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        const char *name = node->items[i].key;

        find_files(f, node->items[i].value,
                   !name          ? key
                   : *key == '\0' ? arena_strdup(f->arena, name)
                                  : arena_printf(f->arena, "%s.%s", key, name));
    }
}

size_t setup_secret_files(const struct yaml *root, struct arena *arena, struct secret_file **ret)
{
    struct finding_files f = {.arena = arena};

    find_files(&f, root, "");
    *ret = arena_alloc(arena, (f.count + 1) * sizeof **ret);
    if (f.count > 0) {
        memcpy(*ret, f.files, f.count * sizeof **ret);
    }
    mem_free(f.files);
    return f.count;
}

/* ---- making one */

static int write_secret(int fd, const char *path, const struct file_reader *reader, struct errmsg *err)
{
    uint8_t bytes[SECRET_BYTES];
    char text[2 * SECRET_BYTES + 2];
    size_t len = 2 * SECRET_BYTES + 1;
    bool written;
    int st = ST_OK;

    crypto_random(bytes, sizeof bytes);
    crypto_hex(bytes, sizeof bytes, text);
    text[len - 1] = '\n';
    written = write(fd, text, len) == (ssize_t)len;
    if (written && geteuid() == 0 && (fchown(fd, 0, reader->gid) != 0 || fchmod(fd, 0640) != 0)) {
        st = err_set(err, ST_IO, "cannot give %s to the group of %s: %s", path, reader->name, strerror(errno));
    } else if (!written || fsync(fd) != 0) {
        st = err_set(err, ST_IO, "cannot write %s: %s", path, strerror(errno));
    }
    mem_wipe(bytes, sizeof bytes);
    mem_wipe(text, sizeof text);
    return st;
}

int setup_make_secret(const char *path, const struct file_reader *reader, struct errmsg *err)
{
    char *made = mem_printf("%s.new-%" PRIdMAX, path, (intmax_t)getpid());
    int fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int st;

    if (fd < 0) {
        st = err_set(err, ST_IO, "cannot make %s: %s", path, strerror(errno));
        mem_free(made);
        return st;
    }
    st = write_secret(fd, path, reader, err);
    if (close(fd) != 0 && st == ST_OK) {
        st = err_set(err, ST_IO, "cannot write %s: %s", path, strerror(errno));
    }
    /* a link, unlike a rename, never takes the place of another file */
    if (st == ST_OK && link(made, path) != 0) {
        st = err_set(err, errno == EEXIST ? ST_CONFLICT : ST_IO, "cannot make %s: %s", path, strerror(errno));
    }
    (void)unlink(made);
    mem_free(made);
    return st;
}

/* ---- who can read one */

static bool is_in_group(const struct file_reader *reader, gid_t gid)
{
    gid_t groups[GROUPS_MAX];
    int count = GROUPS_MAX;

    if (getgrouplist(reader->name, reader->gid, groups, &count) < 0) {
        return gid == reader->gid;
    }
    for (int i = 0; i < count; i++) {
        if (groups[i] == gid) {
            return true;
        }
    }
    return false;
}

/* bits: of "others", S_IROTH or S_IXOTH. */
static bool may(const char *path, const struct file_reader *reader, mode_t bits)
{
    struct stat info;

    if (stat(path, &info) != 0) {
        return false;
    }
    if (reader->uid == 0) {
        return true;
    }
    if (info.st_uid == reader->uid) {
        return (info.st_mode & (bits << 6)) != 0;
    }
    return (info.st_mode & (is_in_group(reader, info.st_gid) ? bits << 3 : bits)) != 0;
}

bool setup_can_read(const char *path, const struct file_reader *reader)
{
    const char *slash = strrchr(path, '/');
    char *dir = !slash ? mem_strdup(".") : slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
    bool can = may(dir, reader, S_IXOTH) && may(path, reader, S_IROTH);

    mem_free(dir);
    return can;
}
