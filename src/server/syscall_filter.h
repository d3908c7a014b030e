/* syscall_filter.h -- the system calls that the process and its children may not make (--seccomp).
 *
 * Scripts are trusted, and start programs: so the filter is a list of calls that no server and no
 * ordinary program needs, and that an attacker would use, once inside the process, to reach the
 * kernel or other processes. They fail with EPERM. */
#ifndef TIDEWIRE_SERVER_SYSCALL_FILTER_H
#define TIDEWIRE_SERVER_SYSCALL_FILTER_H

#include "base/error_text.h"

#include <stdbool.h>

/* Installs the filter in all threads, for good. Sets no_new_privs in all threads. */
bool syscall_filter_install(const struct error_text *problem);

#endif
