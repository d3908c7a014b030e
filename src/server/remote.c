/* remote.c -- commands to a server that runs. See remote.h.
 *
 * Speaks to the socket beside the server's pid file (handover.c), and simply waits. */
#include "server/remote.h"

#include "server/handover.h"
#include "server/server.h"
#include "server/takeover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The whole answer. Its length, or -1. */
static ssize_t ask(int fd, const char *word, char *answer, size_t size) {
    if (send(fd, word, strlen(word), MSG_NOSIGNAL) < 0)
        return -1;
    ssize_t len;
    do
        len = recv(fd, answer, size - 1, 0);
    while (len < 0 && errno == EINTR);
    answer[len > 0 ? len : 0] = '\0';
    return len;
}

static bool begins_with(const char *text, const char *begin) {
    return strncmp(text, begin, strlen(begin)) == 0;
}

static int report(const char *answer) {
    if (begins_with(answer, HANDOVER_RELOADED)) {
        printf("reloaded: generation %s runs\n", answer + strlen(HANDOVER_RELOADED));
        return EXIT_CLEAN;
    }
    if (begins_with(answer, HANDOVER_FAILED))
        fprintf(stderr, "%s\ntidewire: reload: nothing was changed\n",
                answer + strlen(HANDOVER_FAILED));
    else
        fprintf(stderr, "tidewire: reload: the server has ended, or does not understand\n");
    return EXIT_FAILED;
}

int remote_reload(const char *pid_file) {
    static char answer[HANDOVER_ANSWER_BYTES];
    int fd = takeover_reach(pid_file, 0);
    if (fd < 0) {
        fprintf(
            stderr,
            "tidewire: reload: no server answers at %s.sock: %s; is one running with --pid-file "
            "%s?\n",
            pid_file, strerror(-fd), pid_file);
        return EXIT_FAILED;
    }
    ask(fd, HANDOVER_RELOAD, answer, sizeof answer);
    close(fd);
    return report(answer);
}
