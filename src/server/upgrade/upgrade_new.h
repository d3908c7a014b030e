/* upgrade_new.h -- the next process's side of an upgrade: it gets the listening sockets of the
 * one that runs.
 *
 * upgrade_old.h is the other side; the order of messages stands on top of control.h. Main
 * thread. */
#ifndef TIDEWIRE_SERVER_UPGRADE_UPGRADE_NEW_H
#define TIDEWIRE_SERVER_UPGRADE_UPGRADE_NEW_H

#include "net/listen/passed_fds.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

enum upgrade_new_state {
    UPGRADE_NEW_ASKING,   /* sockets are coming */
    UPGRADE_NEW_RECEIVED, /* all are there; the running process serves as well */
    UPGRADE_NEW_READY,    /* this process serves; the running one was told so */
    UPGRADE_NEW_DONE,     /* the sockets are this process's alone */
    UPGRADE_NEW_FAILED,
};

struct upgrade_new_options {
    uv_loop_t *loop;
    const char *pid_file;             /* of the process to ask */
    struct passed_fds *passed;        /* gets the sockets */
    bool (*is_cancelled)(void *user); /* ends upgrade_new_wait() */
    void *user;
};

struct upgrade_new {
    enum upgrade_new_state state; /* for reading */
    char problem[256];            /* for reading, in UPGRADE_NEW_FAILED */
    /* private */
    struct upgrade_new_options options;
    uv_poll_t poll;
    int fd; /* the control connection; -1: there is none */
};

/* Asks for the sockets. The loop moves the state on. */
void upgrade_new_begin(struct upgrade_new *upgrade, const struct upgrade_new_options *options);
/* This process serves. From UPGRADE_NEW_RECEIVED on. */
void upgrade_new_ready(struct upgrade_new *upgrade);
/* Runs the loop until this state has come. False, with a sentence in `error`, where the upgrade
 * fails or is cancelled. What is done cannot be cancelled. */
bool upgrade_new_wait(struct upgrade_new *upgrade, enum upgrade_new_state wanted, char *error,
                      size_t error_size);

/* Closes the connection: an upgrade that is not done leaves the running process as it was. The
 * loop must run once more. All zeros but for `fd` -1 is accepted. */
void upgrade_new_close(struct upgrade_new *upgrade);

#endif
