/* descriptors.h -- which file descriptors child processes inherit. Any thread. */
#ifndef TIDEWIRE_BASE_DESCRIPTORS_H
#define TIDEWIRE_BASE_DESCRIPTORS_H

/* Call it before a child process starts. The child then inherits standard input, output and error,
 * and no other descriptor, whether a library, a script or the parent process has opened it. */
void descriptors_close_on_exec(void);

#endif
