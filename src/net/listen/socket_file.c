/* socket_file.c -- the identity of a Unix socket's file. See socket_file.h. */
#include "net/listen/socket_file.h"

#include <unistd.h>

struct file_id socket_file_at(const char *path) {
    struct stat info;
    if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return (struct file_id){0};
    return file_id_of(&info);
}

bool socket_file_is_at(const struct file_id *file, const char *path) {
    return file->inode != 0 && file_id_equal(*file, socket_file_at(path));
}

void socket_file_remove(const struct file_id *file, const char *path) {
    if (socket_file_is_at(file, path))
        unlink(path);
}
