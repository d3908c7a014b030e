/* control.h -- the control socket, on which other processes of Tidewire send requests to the
 * running one.
 *
 * It is F.sock for the pid file F, mode 0600, of type SOCK_SEQPACKET. A message is one short text,
 * with descriptors where sockets are passed. The first message of a connection is its request. An
 * upgrade:
 *
 *     next process (upgrade_new.h)  message                          running process
 *     UPGRADE_NEW_ASKING            "tidewire 1"                 ->  UPGRADE_OLD_IDLE
 *         with a socket, into which                                  sends the keys of tickets
 *                                   "address ADMIN ANYPORT FILE" <-  for each address, in one or
 *                                                                    several messages, with
 *                                                                    descriptors
 *     UPGRADE_NEW_RECEIVED          "end"                        <-  UPGRADE_OLD_PASSED
 *         opens the other addresses
 *     UPGRADE_NEW_STATE_ASKED       "state"                      ->  saves, and serves on, but no
 *                                                                    sessions
 *     UPGRADE_NEW_STATE_TAKEN       "state", a descriptor        <-
 *         takes the state, accepts on all
 *     UPGRADE_NEW_READY             "ready"                      ->
 *     UPGRADE_NEW_DONE              "yours"                      <-  UPGRADE_OLD_DONE
 *         replaces the pid file and the control                      drains, and removes no file
 *         socket by its own
 *
 * ADMIN, ANYPORT and FILE are 0 or 1: the socket is of the admin address; the system chose its
 * port; Tidewire removes its file at the end (not a file of systemd's). The keys of TLS session
 * tickets (tls_tickets.h) are no message, which could be logged, and come before "end"; versions
 * that do not know them send no socket, or close it. Behind them the running process says on this
 * socket that it has a state to pass (CONTROL_HAS_STATE); without that the next process does not
 * ask for it. "state" without a descriptor: the state could not be written. Until "yours" the
 * running process serves as before, also when the next one fails. A second process that asks
 * meanwhile gets "busy". For a moment both processes accept on the same sockets: no connection that
 * waits in them is lost, and the kernel refuses none. A reload, by `tidewire reload`
 * (control_client.h):
 *
 *     client                        "reload 1"                   ->  running process
 *                                   "reloaded GENERATION"        <-  when all workers run new code
 *                                   "failed PROBLEMS"            <-  or when one cannot
 *
 * This file has the functions of both ends: they connect, send and receive. Any thread. */
#ifndef TIDEWIRE_SERVER_UPGRADE_CONTROL_H
#define TIDEWIRE_SERVER_UPGRADE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

/* Requests. The number is the version of the protocol. */
#define CONTROL_UPGRADE "tidewire 1"
#define CONTROL_RELOAD  "reload 1"
/* Messages of an upgrade. */
#define CONTROL_ADDRESS "address %d %d %d" /* for_admin, any_port, owns_file */
#define CONTROL_END     "end"
#define CONTROL_STATE   "state"
#define CONTROL_READY   "ready"
#define CONTROL_YOURS   "yours"
#define CONTROL_BUSY    "busy"
/* On the socket of the keys of tickets. The number is the version of this part. */
#define CONTROL_HAS_STATE "state 1"
/* Replies to a reload; the generation, or the errors in lines, follow. */
#define CONTROL_RELOADED "reloaded "
#define CONTROL_FAILED   "failed "

enum {
    CONTROL_MESSAGE_BYTES = 64,      /* of a message */
    CONTROL_REPLY_BYTES = 32 * 1024, /* of a reply to a reload; a longer reply is cut */
    CONTROL_MAX_FDS = 128            /* in one message; the system allows 253 */
};

/* A received message. */
struct control_message {
    char text[CONTROL_MESSAGE_BYTES];
    int fds[CONTROL_MAX_FDS];
    size_t fd_count; /* descriptors that the receiver must close, or give to another owner */
};

/* The address of the control socket that belongs to a pid file. False: the path is too long. */
bool control_path(const char *pid_file, struct sockaddr_un *address);
/* Connects to it. Returns the descriptor, or -errno. `flags`: SOCK_NONBLOCK, or 0. */
int control_connect(const char *pid_file, int flags);
/* Does a process listen there? */
bool control_is_served(const char *pid_file);
/* Is the process at the other end of our own user, or of root? Writes its number into `pid`. */
bool control_trusts(int fd, pid_t *pid);

/* Sends a message with `count` descriptors, which the caller still owns. False, with errno: the
 * other end is closed, or does not read. */
bool control_send(int fd, const char *text, const int *fds, size_t count);
/* Receives the next message. Returns its length; 0: the other end is closed; -1, with errno, which
 * is EMFILE where the process cannot have so many descriptors. With 0 and -1 no descriptor is left
 * open. */
ssize_t control_receive(int fd, struct control_message *message);
/* Closes the descriptors of the message that have no other owner. */
void control_close_fds(struct control_message *message);

#endif
