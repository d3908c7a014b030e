/* sessions.h -- where the sessions of all workers are: the connection that has a secret.
 *
 * A client that comes back brings the secret of its session, and any worker may have accepted its
 * new socket. A session is in here from its first handshake until it ends. Secrets are compared in
 * constant time, and found by a hash with a random key, so the time of a look-up tells nothing
 * about them. Any thread. */
#ifndef TIDEWIRE_CORE_BUS_SESSIONS_H
#define TIDEWIRE_CORE_BUS_SESSIONS_H

#include "base/conn_id.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes of a secret. The clients choose them; a shorter one could be guessed. */
enum { SESSION_SECRET_MIN = 16, SESSION_SECRET_MAX = 256 };

/* Times at which handshakes arrived are as exact as this: the kernel counts the time since the last
 * byte in ticks, of 10 milliseconds at most. */
enum { SESSION_TICKS_MS = 20 };

struct sessions;

struct sessions *sessions_new(void);
void sessions_free(struct sessions *sessions); /* accepts NULL */

/* The secret is copied. False: another connection has it. */
bool sessions_add(struct sessions *sessions, struct slice secret, conn_id id);
/* The secret is this connection's now, whose handshake arrived at `asked_ms`. `*other` is the one
 * that had it; 0: none. False: that one's handshake arrived later, and it keeps the secret. */
bool sessions_replace(struct sessions *sessions, struct slice secret, conn_id id, uint64_t asked_ms,
                      conn_id *other);
/* Does nothing where this connection does not have the secret. */
void sessions_remove(struct sessions *sessions, struct slice secret, conn_id id);
/* The connection with this secret; 0: none. It may end at any time. Takes no lock while there are
 * no sessions. */
conn_id sessions_find(struct sessions *sessions, struct slice secret);
/* The session of this connection waits for its client, or does so no more. */
void sessions_set_waiting(struct sessions *sessions, struct slice secret, conn_id id, bool waits);

/* The place of a waiting session in limits.connections, which a new socket of its client uses until
 * the session has the socket: only one at a time. */
struct session_place;
/* NULL: no session with this secret waits, or another socket has the place. */
struct session_place *sessions_lend_place(struct sessions *sessions, struct slice secret);
void session_place_return(struct session_place *place); /* accepts NULL */
uint32_t sessions_count(const struct sessions *sessions);

#endif
