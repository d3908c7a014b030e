/* broken_pipe.h -- writing to what nobody reads any more does not end the process. */
#ifndef TIDEWIRE_SERVER_BROKEN_PIPE_H
#define TIDEWIRE_SERVER_BROKEN_PIPE_H

/* At the start, and after each transport_new(), whose library ignores the signal in its own way. Any thread. */
void broken_pipe_survive(void);

#endif
