#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

int file_read(const char *path, size_t max_bytes, unsigned forbidden_mode, char **ret, size_t *ret_len,
              unsigned *ret_mode, struct errmsg *err)
{
    struct stat info;
    char *text = NULL;
    size_t len = 0;
    int st;

    /* O_NONBLOCK: a FIFO without a writer must not hang the start */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_set(err, errno == ENOENT ? ST_NOT_FOUND : ST_IO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0) {
        st = err_set(err, ST_IO, "cannot look at %s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        st = err_set(err, ST_INVALID, "%s is not a regular file", path);
        goto out;
    }
    if (((unsigned)info.st_mode & forbidden_mode) != 0) {
        st = err_set(err, ST_DENIED, "others can read or write %s (mode %04o): run chmod o-rwx on it", path,
                     (unsigned)info.st_mode & 07777U);
        goto out;
    }
    text = mem_alloc(max_bytes + 2);
    for (;;) {
        ssize_t n = read(fd, text + len, max_bytes + 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            st = err_set(err, ST_IO, "cannot read %s: %s", path, strerror(errno));
            goto out;
        }
        if (n == 0)
            break;
        len += (size_t)n;
        if (len > max_bytes) {
            st = err_set(err, ST_LIMIT, "%s is larger than %zu bytes", path, max_bytes);
            goto out;
        }
    }
    text[len] = '\0';
    *ret = text;
    *ret_len = len;
    if (ret_mode != NULL)
        *ret_mode = (unsigned)info.st_mode & 07777U;
    text = NULL;
    st = ST_OK;
out:
    if (text != NULL)
        mem_wipe(text, len);
    mem_free(text);
    (void)close(fd);
    return st;
}
