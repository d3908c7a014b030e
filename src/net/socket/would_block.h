/* would_block.h -- which failures of a call on a socket pass by themselves. Any thread. */
#ifndef TIDEWIRE_NET_SOCKET_WOULD_BLOCK_H
#define TIDEWIRE_NET_SOCKET_WOULD_BLOCK_H

#include <errno.h>
#include <stdbool.h>

/* Is the socket as good as before, although the call failed with this errno? It has no bytes or no
 * room, or the kernel has no memory at the moment. The caller waits for the socket, as after
 * EAGAIN. */
static inline bool would_block(int error) {
    return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM;
}

#endif
