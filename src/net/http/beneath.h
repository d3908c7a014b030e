/* beneath.h -- opens files below a folder, and nothing outside of it.
 *
 * Symbolic links are followed while they stay within the folder. Blocking file system calls; any
 * thread. */
#ifndef TIDEWIRE_NET_HTTP_BENEATH_H
#define TIDEWIRE_NET_HTTP_BENEATH_H

#include <stdbool.h>

/* The folder, open for one request; at the next one another folder may have its name. */
struct beneath {
    int fd;
    const char *path; /* borrowed */
};

/* False, with errno: it cannot be opened. */
bool beneath_init(struct beneath *root, const char *folder);
void beneath_close(struct beneath *root);

/* Opens `path`, names without dots between slashes, for reading; "" is the folder itself. -1, with
 * errno: it does not exist, may not be read, or is outside. */
int beneath_open(const struct beneath *root, const char *path);

#endif
