/* proc.h -- facts about another process, from Linux's /proc. Owns nothing, any thread. */
#ifndef TIDEWIRE_BASE_PROC_H
#define TIDEWIRE_BASE_PROC_H

#include <stddef.h>
#include <sys/types.h>

/* The start of a process, in seconds of Unix time, to within a second. Negative: no process has
 * this number, or this process may not see it. */
double proc_began_at(pid_t pid);

/* The name of its program, at most 15 bytes; "unknown" when this process may not see it. Returns
 * `out`. */
const char *proc_name(pid_t pid, char *out, size_t size);

#endif
