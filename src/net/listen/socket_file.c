/* socket_file.c -- the file of a Unix socket. See socket_file.h. */
#include "net/listen/socket_file.h"

#include <sys/stat.h>
#include <unistd.h>

struct socket_file socket_file_at(const char *path) {
    struct stat info;
    if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return (struct socket_file){0};
    return (struct socket_file){info.st_dev, info.st_ino};
}

bool socket_file_is_at(const struct socket_file *file, const char *path) {
    struct socket_file there = socket_file_at(path);
    return file->inode != 0 && there.device == file->device && there.inode == file->inode;
}

void socket_file_remove(const struct socket_file *file, const char *path) {
    if (socket_file_is_at(file, path))
        unlink(path);
}
