/* control_server.h -- the running process's end of the control socket: it listens there for
 * requests.
 *
 * Where there is a pid file, the next process asks there for the listening sockets
 * (upgrade_old.h), and `tidewire reload` for a reload. Owns the control listener, its file, and
 * the control connections. Main thread. */
#ifndef TIDEWIRE_SERVER_UPGRADE_CONTROL_SERVER_H
#define TIDEWIRE_SERVER_UPGRADE_CONTROL_SERVER_H

#include "server/listen/listeners.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct control_server_options {
    uv_loop_t *loop;
    const char *pid_file;              /* borrowed */
    const struct listeners *listeners; /* the sockets to pass on */
    /* The next process serves: the sockets and files are its own. May call
     * control_server_close(). */
    void (*on_upgraded)(void *user, pid_t by);
    /* A client asks for a reload, and waits for control_server_reloaded() with this number. */
    void (*on_reload)(void *user, uint64_t request);
    void *user;
};

struct control_server;

/* Listens, under a name at which no process asks yet. NULL, with a sentence in `error`, when that
 * cannot be. */
struct control_server *control_server_open(const struct control_server_options *options,
                                           char *error, size_t error_size);
/* Puts its file where other processes look for it, in the place of the process before, if there
 * was one. False, with a sentence in `error`. */
bool control_server_place(struct control_server *server, char *error, size_t error_size);
/* Where its file was taken away, and no connection is open: listens anew, in `*server`. False,
 * with a sentence in `error`. */
bool control_server_restore(struct control_server **server, char *error, size_t error_size);

/* Replies to a request for a reload: `problems` is NULL, or lines that say what is wrong. Ignored
 * when that client has gone, or `server` is NULL. */
void control_server_reloaded(struct control_server *server, uint64_t request, unsigned generation,
                             const char *problems);

/* Closes all connections: an upgrade under way fails. Memory is released by the loop. Accepts
 * NULL. */
void control_server_close(struct control_server *server);

#endif
