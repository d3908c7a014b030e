/* handover.h -- the listening sockets go from a running process to the next, without a moment in which nobody
 * listens. This is the running one's side; takeover.h is the next one's.
 *
 * Where there is a pid file, the process waits for its successor on a Unix socket beside it. Main thread. The
 * protocol stands in handover.c. */
#ifndef TIDEWIRE_SERVER_HANDOVER_H
#define TIDEWIRE_SERVER_HANDOVER_H

#include "net/listen.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>
#include <uv.h>

/* What is said. */
#define HANDOVER_ASK "tidewire 1" /* the next: give, in this form */
#define HANDOVER_ADDRESS                                                                           \
    "address %d %d %d" /* for_admin, any_port, owns_file; descriptors with it */
#define HANDOVER_END   "end"
#define HANDOVER_READY "ready" /* the next */
#define HANDOVER_YOURS "yours"
#define HANDOVER_BUSY  "busy"
/* Instead of HANDOVER_ASK, by `tidewire reload`; the answer begins with one of these, a generation behind it, or
 * lines that say what is wrong. */
#define HANDOVER_RELOAD   "reload 1"
#define HANDOVER_RELOADED "reloaded "
#define HANDOVER_FAILED   "failed "
enum {
    HANDOVER_WORD_BYTES = 64,
    HANDOVER_ANSWER_BYTES = 32 * 1024, /* of a reload; longer ones are cut */
    HANDOVER_FDS = 128                 /* most in one datagram; the system allows 253 */
};

/* Where the process of a pid file waits. False: the path is too long. */
bool handover_path(const char *pid_file, struct sockaddr_un *address);
/* Is whoever has the other end of the socket ourselves or root? */
bool handover_trusts(int fd, pid_t *pid);

struct handover_options {
    uv_loop_t *loop;
    const char *pid_file;
    /* The sets to pass on, from number 0 on; NULL: no more. */
    struct listen_set *(*set)(void *user, size_t number);
    /* The successor serves: nothing is ours any more. */
    void (*on_taken)(void *user, pid_t by);
    /* Somebody wants the code to be loaded anew, and waits for handover_answer(). */
    void (*on_reload)(void *user, uint64_t question);
    void *user;
};

struct handover;

/* What became of it. Ignored when that one waits no more. */
void handover_answer(struct handover *handover, uint64_t question, const char *answer);

/* Waits, but not where anybody looks yet. NULL, with a sentence in `error`, when that cannot be. */
struct handover *handover_open(const struct handover_options *options, char *error,
                               size_t error_size);
/* Where the successor looks from now on: in the place of the process before, if there is one. */
bool handover_place(struct handover *handover, char *error, size_t error_size);
/* Was its file taken away, and does nobody speak with it now? */
bool handover_is_lost(const struct handover *handover);
/* Waits no more; a handover that is under way comes to nothing. Memory is released by the loop. Accepts NULL. */
void handover_close(struct handover *handover);

#endif
