/* descriptors.h -- file descriptors of the process, and what its children get of them. Any
 * thread. */
#ifndef TIDEWIRE_BASE_DESCRIPTORS_H
#define TIDEWIRE_BASE_DESCRIPTORS_H

/* Before a child is started: it shall get standard input, output and error, and no other
 * descriptor, whoever has opened that and however (a library, a script, the process that has
 * started this one). */
void descriptors_close_on_exec(void);

#endif
