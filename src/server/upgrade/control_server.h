/* control_server.h -- the running process's end of the control socket, which receives requests.
 *
 * It exists where there is a pid file. The next process requests the listening sockets
 * (upgrade_new.h), and `tidewire reload` requests a reload. Owns the control listener, its file,
 * and the control connections. Main thread. */
#ifndef TIDEWIRE_SERVER_UPGRADE_CONTROL_SERVER_H
#define TIDEWIRE_SERVER_UPGRADE_CONTROL_SERVER_H

#include "net/socket/tls_tickets.h"
#include "server/listen/listeners.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct control_server_options {
    uv_loop_t *loop;
    const char *pid_file;              /* borrowed */
    const struct listeners *listeners; /* the sockets to pass */
    struct tls_tickets *tickets;       /* whose keys are passed; NULL: none */
    /* Process `by` serves, and owns the sockets and their files. May call
     * control_server_close(). */
    void (*on_upgraded)(void *user, pid_t by);
    bool has_state; /* the app has a state file */
    /* The next process asks for the state: control_server_state() follows. */
    void (*on_state)(void *user);
    /* It has asked for the state, and fails. */
    void (*on_state_failed)(void *user);
    /* A client requests a reload, and waits for control_server_reloaded() with this number. */
    void (*on_reload)(void *user, uint64_t request);
    void *user;
};

struct control_server;

/* Listens, with a temporary file name. NULL, with a sentence in `error`, when that fails. */
struct control_server *control_server_open(const struct control_server_options *options,
                                           char *error, size_t error_size);
/* Renames its file to F.sock, over that of a process before it. False, with a sentence in
 * `error`. */
bool control_server_place(struct control_server *server, char *error, size_t error_size);
/* Where its file was removed, and no connection is open: replaces `*server` by a new one. False,
 * with a sentence in `error`. */
bool control_server_restore(struct control_server **server, char *error, size_t error_size);

/* Replies to a request for a reload: `problems` is NULL, or the errors, in lines. Ignored when the
 * client has disconnected, or `server` is NULL. */
void control_server_reloaded(struct control_server *server, uint64_t request, unsigned generation,
                             const char *problems);

/* Sends the next process the descriptor of the state, which stays the caller's; -1: there is none.
 * Ignored when it has ended. */
void control_server_state(struct control_server *server, int fd);

/* Closes all connections: an upgrade under way fails. The loop releases the memory. Accepts
 * NULL. */
void control_server_close(struct control_server *server);

#endif
