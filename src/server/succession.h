/* succession.h -- the process before this one and the one after it: what --pid-file and --upgrade are about.
 *
 * Joins the pid file, the socket beside it on which the next process asks (handover.h), and the asking of the
 * process before (takeover.h). Main thread, whose loop it runs where it waits. */
#ifndef TIDEWIRE_SERVER_SUCCESSION_H
#define TIDEWIRE_SERVER_SUCCESSION_H

#include "server/admin.h"
#include "server/doors.h"
#include "server/handover.h"
#include "server/pid_file.h"
#include "server/takeover.h"

#include <stdbool.h>

struct succession_options {
    uv_loop_t *loop;
    const char *pid_file; /* NULL: there is neither a process before nor one after */
    bool upgrade;         /* from the process of the pid file */
    struct inheritance *inheritance;
    struct doors *doors;
    struct admin **admin;
    bool (*is_ending)(void *user);          /* nothing more is waited for */
    void (*on_taken)(void *user, pid_t by); /* the next process serves on our sockets: drain */
    /* `tidewire reload` waits for succession_answer() */
    void (*on_reload)(void *user, uint64_t question);
    void *user;
};

struct succession {
    /* private */
    struct succession_options options;
    struct pid_file pid_file;
    struct handover *handover; /* NULL: no next process is waited for */
    struct takeover takeover;
};

void succession_init(struct succession *succession, const struct succession_options *options);
/* The loop must run once more. */
void succession_close(struct succession *succession);

/* Each of these false, with a sentence in `error`. */

/* Before sockets are opened: gets those of the process before into the inheritance. Without `upgrade` there
 * must be no such process. */
bool succession_ask(struct succession *succession, char *error, size_t error_size);
/* Writes what will be in the places of the process before. */
bool succession_prepare(struct succession *succession, char *error, size_t error_size);
/* The server serves: from now on it is the one. */
bool succession_take(struct succession *succession, char *error, size_t error_size);

/* Puts the pid file and the socket beside it in their places again where they were taken away;
 * warns where that cannot be. */
void succession_renew_files(struct succession *succession);

/* What became of a reload: NULL, or lines that say what is wrong. */
void succession_answer(struct succession *succession, uint64_t question, unsigned generation,
                       const char *problems);

/* The server ends: a next process would come too late. */
void succession_end(struct succession *succession);

#endif
