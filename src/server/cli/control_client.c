/* control_client.c -- requests to a running server. See control_client.h.
 *
 * Has no loop: it blocks until it has the reply. */
#include "server/cli/control_client.h"

#include "server/server.h"
#include "server/upgrade/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Sends a request, and writes the reply; "" where there is none. */
static void send_request(int fd, const char *text, char *reply, size_t size) {
    ssize_t len = -1;
    if (control_send(fd, text, NULL, 0)) {
        do
            len = recv(fd, reply, size - 1, 0);
        while (len < 0 && errno == EINTR);
    }
    reply[len > 0 ? len : 0] = '\0';
}

static bool begins_with(const char *text, const char *begin) {
    return strncmp(text, begin, strlen(begin)) == 0;
}

static int print_reply(const char *reply) {
    if (begins_with(reply, CONTROL_RELOADED)) {
        printf("reloaded: generation %s runs\n", reply + strlen(CONTROL_RELOADED));
        return EXIT_CLEAN;
    }
    if (begins_with(reply, CONTROL_FAILED))
        fprintf(stderr, "%s\ntidewire: reload: nothing was changed\n",
                reply + strlen(CONTROL_FAILED));
    else
        fprintf(stderr, "tidewire: reload: the server has ended, or is of another version\n");
    return EXIT_FAILED;
}

int control_client_reload(const char *pid_file) {
    static char reply[CONTROL_REPLY_BYTES];
    int fd = control_connect(pid_file, 0);
    if (fd < 0) {
        fprintf(
            stderr,
            "tidewire: reload: no server answers at %s.sock: %s; is one running with --pid-file "
            "%s?\n",
            pid_file, strerror(-fd), pid_file);
        return EXIT_FAILED;
    }
    send_request(fd, CONTROL_RELOAD, reply, sizeof reply);
    close(fd);
    return print_reply(reply);
}
