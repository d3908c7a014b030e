/* state_lock.h -- FILE.running, which belongs to the process that uses the state file FILE.
 *
 * It is locked as long as the process lives, so that no second one uses FILE. It has the number of
 * the process from the moment that it serves, and is removed when the state is written: if a number
 * is left, that process has ended without its state. Main thread, or the only one that loads. */
#ifndef TIDEWIRE_SERVER_STATE_STATE_LOCK_H
#define TIDEWIRE_SERVER_STATE_STATE_LOCK_H

#include "base/error_text.h"

#include <stdbool.h>

struct state_lock {
    char *path; /* NULL: not taken */
    int fd;     /* -1: there is no file, because it could not be created */
    long lost;  /* for reading: the process that has ended without its state; 0: none has */
};

/* Takes the lock. False, with a sentence: another process has it, or the folder takes no files. A
 * full disk is no reason: the server runs without it, and `problem` is set where it is. */
bool state_lock_take(struct state_lock *lock, const char *file, const struct error_text *problem);
/* This process serves from now on: a kill loses its state. False: not any more. */
void state_lock_mark(struct state_lock *lock, bool serves);
/* Releases the lock, and removes the file unless `keep` says that the state was lost. Accepts one
 * that is not taken. */
void state_lock_release(struct state_lock *lock, bool keep);

#endif
