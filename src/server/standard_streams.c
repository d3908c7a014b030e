/* standard_streams.c -- descriptors 0, 1 and 2 are always open. See standard_streams.h. */
#include "server/standard_streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
}

bool standard_streams_reserve(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (is_open(fd))
            continue;
        /* It gets the lowest number that is free; children keep it. */
        int opened = open("/dev/null", O_RDWR);
        if (opened == fd)
            continue;
        if (opened < 0)
            fprintf(stderr,
                    "tidewire: descriptor %d is closed, and /dev/null cannot take its place: %s\n",
                    fd, strerror(errno));
        return false;
    }
    return true;
}
