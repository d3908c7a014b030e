/* upgrade_new.h -- the next process's side of an upgrade: receives the listening sockets of the
 * running process.
 *
 * control_server.c is the other side; control.h has the sequence of messages. Main thread. */
#ifndef TIDEWIRE_SERVER_UPGRADE_UPGRADE_NEW_H
#define TIDEWIRE_SERVER_UPGRADE_UPGRADE_NEW_H

#include "net/listen/passed_fds.h"
#include "net/socket/tls_tickets.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

enum upgrade_new_state {
    UPGRADE_NEW_ASKING,      /* receives sockets */
    UPGRADE_NEW_RECEIVED,    /* has all sockets; the running process serves */
    UPGRADE_NEW_STATE_ASKED, /* the running process saves its state */
    UPGRADE_NEW_STATE_TAKEN, /* this process has it: `state_fd` */
    UPGRADE_NEW_READY,       /* both processes serve; "ready" was sent */
    UPGRADE_NEW_DONE,        /* this process owns the sockets; the other one drains */
    UPGRADE_NEW_FAILED,      /* `problem` says why; the running process serves on */
};

struct upgrade_new_options {
    uv_loop_t *loop;
    const char *pid_file;             /* of the process to ask */
    struct passed_fds *passed;        /* receives the sockets */
    struct tls_tickets *tickets;      /* receives the keys; NULL: none */
    bool (*is_cancelled)(void *user); /* ends upgrade_new_wait() */
    void *user;
};

struct upgrade_new {
    enum upgrade_new_state state; /* for reading */
    char problem[256];            /* for reading, in UPGRADE_NEW_FAILED */
    bool has_state; /* for reading, from UPGRADE_NEW_RECEIVED on: it has a state to pass */
    int state_fd;   /* for reading, from UPGRADE_NEW_STATE_TAKEN on; -1: there is none */
    /* private */
    struct upgrade_new_options options;
    uv_poll_t poll;
    int fd;         /* the control connection; -1: there is none */
    int tickets_fd; /* where the keys of tickets arrive; -1: there is none */
};

/* Requests the sockets. The loop moves the state on. */
void upgrade_new_begin(struct upgrade_new *upgrade, const struct upgrade_new_options *options);
/* Requests the state, where there is one. In UPGRADE_NEW_RECEIVED. */
void upgrade_new_ask_state(struct upgrade_new *upgrade);
/* This process serves. From UPGRADE_NEW_RECEIVED on. */
void upgrade_new_ready(struct upgrade_new *upgrade);
/* Runs the loop until this state. False, with a sentence in `error`, when the upgrade fails or is
 * cancelled. UPGRADE_NEW_DONE cannot be cancelled. */
bool upgrade_new_wait(struct upgrade_new *upgrade, enum upgrade_new_state wanted, char *error,
                      size_t error_size);

/* Closes the connection and `state_fd`: before UPGRADE_NEW_DONE the running process serves on. The
 * loop must run once more. Accepts all zeros but for `fd` and `state_fd`, which are -1. */
void upgrade_new_close(struct upgrade_new *upgrade);

#endif
