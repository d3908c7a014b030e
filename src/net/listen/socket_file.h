/* socket_file.h -- the file of a Unix socket: is the one at a path still ours?
 *
 * Somebody may have removed it, or have put another in its place. Owns nothing, any thread. */
#ifndef TIDEWIRE_NET_LISTEN_SOCKET_FILE_H
#define TIDEWIRE_NET_LISTEN_SOCKET_FILE_H

#include "base/file_id.h"

#include <stdbool.h>

/* The file at this path as it is now; none where there is no socket. */
struct file_id socket_file_at(const char *path);

/* Is it at this path? */
bool socket_file_is_at(const struct file_id *file, const char *path);

/* Removes it from this path; another file there is left alone. */
void socket_file_remove(const struct file_id *file, const char *path);

#endif
