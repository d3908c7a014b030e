/* redis_socket.h -- the bytes of one connection to Redis: its name, its addresses, TLS.
 *
 * TCP, Unix sockets and TLS come through struct cosocket_functions, which the server fills for the
 * link's loop. Everything happens in redis_socket_turn(), so the owner decides when. One thread. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_SOCKET_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_SOCKET_H

#include "cluster/redis/redis_url.h"
#include "core/cosocket/cosocket.h"

#include <stdint.h>
#include <uv.h>

struct redis_socket;

/* Handles bytes, and does not free the socket. Returns false when nothing more is to be read. */
typedef bool redis_socket_fn(void *owner, struct slice bytes);

enum redis_socket_state { REDIS_SOCKET_OPENING, REDIS_SOCKET_OPEN, REDIS_SOCKET_CLOSED };

/* Begins to connect; the host's name is resolved anew. Borrows all arguments. `turn_wanted` is
 * called when redis_socket_turn() has something to do; never within a call. */
struct redis_socket *redis_socket_new(uv_loop_t *loop, const struct cosocket_functions *sockets,
                                      const struct redis_url *url, uint64_t deadline_ms,
                                      void (*turn_wanted)(void *owner), void *owner);
/* Closes it. Nothing is called afterwards. Accepts NULL. */
void redis_socket_free(struct redis_socket *socket);

/* Goes on: connects, or reads what has come, and passes it on. `look`: reads although the loop has
 * not reported bytes. */
enum redis_socket_state redis_socket_turn(struct redis_socket *socket, bool look,
                                          redis_socket_fn *on_bytes, void *owner);
/* Writes what the socket takes; *sent: so many bytes. */
enum redis_socket_state redis_socket_write(struct redis_socket *socket, struct slice bytes,
                                           size_t *sent);
/* Why it is closed. */
const char *redis_socket_why(const struct redis_socket *socket);

#endif
