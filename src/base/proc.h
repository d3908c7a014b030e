/* proc.h -- what the system tells of another process: Linux's /proc. Owns nothing, any
 * thread. */
#ifndef TIDEWIRE_BASE_PROC_H
#define TIDEWIRE_BASE_PROC_H

#include <stddef.h>
#include <sys/types.h>

/* When it began, in seconds of Unix time, give or take one. Negative: there is none of this number,
 * or it cannot be seen. */
double proc_began_at(pid_t pid);

/* The name of its program, at most 15 bytes; "unknown" when it cannot be seen. Returns `out`. */
const char *proc_name(pid_t pid, char *out, size_t size);

#endif
