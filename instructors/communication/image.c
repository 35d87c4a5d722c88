/* Opening an image's file beneath the folder of images, whatever the path and links in it say. Called by http.c. */
#include "instructors/communication/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The part of path below folder; NULL if it lies elsewhere. */
static const char *beneath(const char *folder, const char *path)
{
    size_t length = strlen(folder);
    while (length > 0 && folder[length - 1] == '/')
        length--;
    if (length == 0 || strncmp(path, folder, length) != 0 || path[length] != '/')
        return NULL;
    return path + length + strspn(path + length, "/");
}

static int open_beneath(const char *folder, const char *name)
{
    /* not blocking: a FIFO there must not hold the server's only thread */
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -1;
    int fd = (int)syscall(SYS_openat2, root, name, &how, sizeof how);
    close(root);
    return fd;
}

enum hep_status image_open(const char *folder, const char *path, int *fd, uint64_t *bytes, struct hep_error *error)
{
    struct stat state;
    const char *name = beneath(folder, path);
    int file = name ? open_beneath(folder, name) : -1;
    if (file < 0 || fstat(file, &state) != 0 || !S_ISREG(state.st_mode)) {
        const char *why = !name      ? "it is not in the folder of images"
                          : file < 0 ? strerror(errno)
                                     : "it is no regular file";
        hep_fail(error, HEP_E_NOT_FOUND, "the image's file cannot be sent: %s", why);
        if (file >= 0)
            close(file);
        return hep_hint(error, "see images.dir in heptad.conf"), HEP_E_NOT_FOUND;
    }
    *fd = file;
    *bytes = (uint64_t)state.st_size;
    return HEP_OK;
}

const char *image_content_type(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (dot && strcmp(dot, ".png") == 0)
        return "image/png";
    if (dot && (strcmp(dot, ".jpg") == 0 || strcmp(dot, ".jpeg") == 0))
        return "image/jpeg";
    return dot && strcmp(dot, ".webp") == 0 ? "image/webp" : "application/octet-stream";
}
