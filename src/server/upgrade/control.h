/* control.h -- the control socket, on which other processes of Tidewire ask the running one for
 * something.
 *
 * It is F.sock for the pid file F, mode 0600, of the kind SOCK_SEQPACKET. A message is one short
 * text, with descriptors where sockets are passed. The first message of a connection is its
 * request. An upgrade:
 *
 *     next process (upgrade_new.h)  message                          running process (upgrade_old)
 *     UPGRADE_NEW_ASKING            "tidewire 1"                 ->  UPGRADE_OLD_IDLE
 *                                   "address ADMIN ANYPORT FILE" <-  for each address, or a part of
 *                                                                    it, with descriptors
 *     UPGRADE_NEW_RECEIVED          "end"                        <-  UPGRADE_OLD_PASSED
 *         opens what is missing, accepts on all sockets
 *     UPGRADE_NEW_READY             "ready"                      ->
 *     UPGRADE_NEW_DONE              "yours"                      <-  UPGRADE_OLD_DONE
 *         puts its pid file and its control socket                   drains, and removes no file
 *         in the places of the old ones
 *
 * ADMIN, ANYPORT and FILE are 0 or 1: the socket is the admin address's; the system chose its
 * port; its file is Tidewire's to remove (systemd's are not). Until "yours" the running process
 * serves as before, whatever happens to the next one. A second process that asks meanwhile gets
 * "busy". Both processes accept for a moment: the sockets are the same, so no connection that
 * waits in them is lost, and the kernel has no reason to refuse one. A reload, by `tidewire
 * reload` (control_client.h):
 *
 *     client                        "reload 1"                   ->  running process
 *                                   "reloaded GENERATION"        <-  when all workers run new code
 *                                   "failed PROBLEMS"            <-  or when one cannot
 *
 * This file has what both ends need: the messages, their sending and receiving, and connecting.
 * Any thread. */
#ifndef TIDEWIRE_SERVER_UPGRADE_CONTROL_H
#define TIDEWIRE_SERVER_UPGRADE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

/* Requests. Their number is the version of the protocol. */
#define CONTROL_UPGRADE "tidewire 1"
#define CONTROL_RELOAD  "reload 1"
/* Messages of an upgrade. */
#define CONTROL_ADDRESS "address %d %d %d" /* for_admin, any_port, owns_file */
#define CONTROL_END     "end"
#define CONTROL_READY   "ready"
#define CONTROL_YOURS   "yours"
#define CONTROL_BUSY    "busy"
/* Replies to a reload: the generation, or lines that say what is wrong, follow. */
#define CONTROL_RELOADED "reloaded "
#define CONTROL_FAILED   "failed "

enum {
    CONTROL_MESSAGE_BYTES = 64,      /* of all messages but these: */
    CONTROL_REPLY_BYTES = 32 * 1024, /* of a reply to a reload; a longer one is cut */
    CONTROL_MAX_FDS = 128            /* in one message; the system allows 253 */
};

/* A message that was received. */
struct control_message {
    char text[CONTROL_MESSAGE_BYTES];
    int fds[CONTROL_MAX_FDS];
    size_t
        fd_count; /* of descriptors that the receiver must still close, or pass to another owner */
};

/* The control socket of the process of a pid file. False: the path is too long. */
bool control_path(const char *pid_file, struct sockaddr_un *address);
/* A connection to it, or -errno. `flags`: SOCK_NONBLOCK, or 0. */
int control_connect(const char *pid_file, int flags);
/* Does a process listen there? */
bool control_is_served(const char *pid_file);
/* Is the process at the other end our own user's or root's? Its number is put into `pid`. */
bool control_trusts(int fd, pid_t *pid);

/* Sends a message with `count` descriptors, which stay the caller's. False, with errno: the other
 * end is closed, or does not read. */
bool control_send(int fd, const char *text, const int *fds, size_t count);
/* Receives the next message. Its length; 0: the other end is closed; -1, with errno, EMFILE where
 * its descriptors do not fit. Without a length no descriptor is left open. */
ssize_t control_receive(int fd, struct control_message *message);
/* Closes the descriptors that are left. */
void control_close_fds(struct control_message *message);

#endif
