/* privileges.h -- the user and group as which the process runs, when root has started it for
 * another user (--user).
 *
 * The process takes the user's rights at once, so that files that it creates are the user's. It can
 * take root's back, for the ports below 1024, until it drops them. The rights are the whole
 * process's; the C library changes them in every thread. Main thread, which has started no other
 * one when it calls privileges_take(). */
#ifndef TIDEWIRE_BASE_PRIVILEGES_H
#define TIDEWIRE_BASE_PRIVILEGES_H

#include "base/error_text.h"

#include <stdbool.h>

/* Takes the rights of `name`: NAME, NAME:GROUP, or numbers in their place; the group and the other
 * groups of the user by default. From then on no program that the process starts gets more rights
 * than it has (no_new_privs, see prctl(2)). Fails for an unknown name, and where the process is
 * neither root nor this user already. */
bool privileges_take(const char *name, const struct error_text *problem);

/* Takes root's rights back, if privileges_take() has given them up. Returns true if so: the caller
 * must call privileges_lower(). */
bool privileges_raise(void);
void privileges_lower(void);

/* Gives root's rights up for good. Does nothing without privileges_take(). */
bool privileges_drop(const struct error_text *problem);

#endif
