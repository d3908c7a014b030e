/* broken_pipe.c -- SIGPIPE is caught by a function that does nothing, so that the write fails with
 * EPIPE.
 *
 * It is not ignored: what is ignored stays so in the processes that scripts start, and programs in
 * a pipeline would not end when their reader has. What is caught is back at its default there. */
#include "server/broken_pipe.h"

#include <signal.h>

static void on_broken_pipe(int number) {
    (void)number;
}

void broken_pipe_survive(void) {
    struct sigaction action = {.sa_handler = on_broken_pipe, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGPIPE, &action, NULL);
}
