/* standard_streams.h -- keeps descriptors 0, 1 and 2 open.
 *
 * A program may be started without them (`2>&-`, some supervisors). Then the next descriptors that
 * it opens get these numbers: libuv aborts when it closes one of them, and printed text goes into a
 * socket or a pipe. */
#ifndef TIDEWIRE_SERVER_STANDARD_STREAMS_H
#define TIDEWIRE_SERVER_STANDARD_STREAMS_H

#include <stdbool.h>

/* Opens /dev/null in the place of each closed one. Before the process opens any other descriptor.
 * False, after a message on stderr if that is open: /dev/null cannot be opened. */
bool standard_streams_reserve(void);

/* Flushes all files of stdio (io.write, io.open), for the end of the process. False: that takes
 * more than half a second, because a pipe is not read, or a thread that does not return has locked
 * a file. Then exit() would wait for ever: call standard_streams_exit(). */
bool standard_streams_flush(void);

/* Ends the process without flushing stdio. */
_Noreturn void standard_streams_exit(int code);

#endif
