/* socket_file.h -- the identity of a Unix socket's file.
 *
 * Another program may remove the file, or put one of its own there; we remove only ours. Owns
 * nothing, any thread. */
#ifndef TIDEWIRE_NET_LISTEN_SOCKET_FILE_H
#define TIDEWIRE_NET_LISTEN_SOCKET_FILE_H

#include "base/file_id.h"

#include <stdbool.h>

/* The socket file that is at this path now; no file where there is none. */
struct file_id socket_file_at(const char *path);

/* Is this file at the path? */
bool socket_file_is_at(const struct file_id *file, const char *path);

/* Removes this file from the path, but no other one. */
void socket_file_remove(const struct file_id *file, const char *path);

#endif
