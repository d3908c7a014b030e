/* control_server.c -- the running process's end of the control socket. See control_server.h. */
#include "server/upgrade/control_server.h"

#include "base/list.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "net/listen/socket_file.h"
#include "server/upgrade/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The running process's side of an upgrade; control.h has the sequence of messages. At every moment
 * at least one process listens. */
enum upgrade_old {
    UPGRADE_OLD_IDLE,   /* no upgrade is under way */
    UPGRADE_OLD_PASSED, /* the next process has the sockets, and is not ready; this one serves */
    UPGRADE_OLD_DONE,   /* the next process owns the sockets; this one drains */
};

/* The state of a control connection, by its request. */
enum connection_state {
    CONNECTION_NEW,       /* its request has not come */
    CONNECTION_RELOADING, /* waits for the outcome of a reload */
    CONNECTION_UPGRADING, /* the client has received the sockets, and will send "ready" */
    CONNECTION_PASSING,   /* the same; it has asked for the state before */
};

/* A socket on the loop: the control listener, or a control connection. */
struct control_socket {
    uv_poll_t poll; /* first: it is cast */
    struct control_server *server;
    int fd;
    /* of a connection */
    struct list link;
    pid_t pid;
    enum connection_state state;
    uint64_t request; /* number of its reload; 0: none */
};

struct control_server {
    struct control_server_options options;
    struct sockaddr_un address;                                /* F.sock */
    char temporary[sizeof((struct sockaddr_un *)0)->sun_path]; /* temporary file name; "": it has
                                                                  its name */
    bool in_place;
    struct file_id file;
    struct control_socket *listener;
    struct list connections;
    uint64_t last_request;
    enum upgrade_old upgrade;
};

/* ---- sockets on the loop ---- */

static struct control_socket *new_socket(struct control_server *server, int fd,
                                         uv_poll_cb on_readable) {
    struct control_socket *socket = mem_zalloc(sizeof *socket);
    socket->fd = fd;
    socket->server = server;
    list_init(&socket->link);
    uv_poll_init(server->options.loop, &socket->poll, fd);
    socket->poll.data = socket;
    uv_poll_start(&socket->poll, UV_READABLE, on_readable);
    return socket;
}

static void on_socket_closed(uv_handle_t *handle) {
    struct control_socket *socket = (struct control_socket *)handle;
    close(socket->fd);
    mem_free(socket);
}

static void close_socket(struct control_socket *socket) {
    struct control_server *server = socket->server;
    if (socket->state >= CONNECTION_UPGRADING && server->upgrade == UPGRADE_OLD_PASSED) {
        server->upgrade = UPGRADE_OLD_IDLE; /* another process may request the sockets */
        if (socket->state == CONNECTION_PASSING)
            server->options.on_state_failed(server->options.user);
    }
    list_remove(&socket->link);
    uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
}

/* ---- requests ---- */

static void fail(struct control_socket *connection, const char *why) {
    log_eventf(LOG_WARN, "upgrade_failed", "process %ld %s; this process serves on",
               (long)connection->pid, why);
    close_socket(connection);
}

static bool send_address(int to, const int *fds, size_t count, const struct passed_facts *facts) {
    char text[CONTROL_MESSAGE_BYTES];
    snprintf(text, sizeof text, CONTROL_ADDRESS, facts->for_admin, facts->any_port,
             facts->owns_file);
    for (size_t sent = 0; sent < count;) {
        size_t some = count - sent < CONTROL_MAX_FDS ? count - sent : CONTROL_MAX_FDS;
        if (!control_send(to, text, fds + sent, some))
            return false;
        sent += some;
    }
    return true;
}

static bool send_sockets(int to, const struct listeners *listeners) {
    struct listen_set *set;
    for (size_t i = 0; (set = listeners_at(listeners, i)) != NULL; i++) {
        const int *fds;
        size_t count;
        struct passed_facts facts;
        for (size_t j = 0; listen_get_fds(set, j, &fds, &count, &facts); j++)
            if (!send_address(to, fds, count, &facts))
                return false;
    }
    return control_send(to, CONTROL_END, NULL, 0);
}

static void on_upgrade(struct control_socket *connection, const struct control_message *message) {
    struct control_server *server = connection->server;
    if (server->upgrade != UPGRADE_OLD_IDLE) {
        control_send(connection->fd, CONTROL_BUSY, NULL, 0);
        close_socket(connection);
        return;
    }
    log_eventf(LOG_INFO, "upgrade", "process %ld has asked for the sockets", (long)connection->pid);
    if (message->fd_count == 1) {
        tls_tickets_send(server->options.tickets, message->fds[0]);
        if (server->options.has_state)
            control_send(message->fds[0], CONTROL_HAS_STATE, NULL, 0);
    }
    if (!send_sockets(connection->fd, server->options.listeners)) {
        fail(connection, "does not receive them");
        return;
    }
    server->upgrade = UPGRADE_OLD_PASSED;
    connection->state = CONNECTION_UPGRADING;
}

static void on_state(struct control_socket *connection) {
    connection->state = CONNECTION_PASSING;
    connection->server->options.on_state(connection->server->options.user);
}

void control_server_state(struct control_server *server, int fd) {
    if (server == NULL)
        return;
    for (struct list *at = server->connections.next; at != &server->connections; at = at->next) {
        struct control_socket *connection = LIST_OWNER(at, struct control_socket, link);
        if (connection->state == CONNECTION_PASSING) {
            if (!control_send(connection->fd, CONTROL_STATE, &fd, fd < 0 ? 0 : 1))
                fail(connection, "does not receive the state");
            return;
        }
    }
}

static void on_ready(struct control_socket *connection) {
    struct control_server *server = connection->server;
    if (!control_send(connection->fd, CONTROL_YOURS, NULL, 0)) {
        fail(connection, "has ended before the last message");
        return;
    }
    server->upgrade = UPGRADE_OLD_DONE;
    server->in_place = false; /* the next process owns the file */
    server->options.on_upgraded(server->options.user, connection->pid);
}

static void on_reload(struct control_socket *connection) {
    struct control_server *server = connection->server;
    connection->state = CONNECTION_RELOADING;
    connection->request = ++server->last_request;
    server->options.on_reload(server->options.user, connection->request);
}

void control_server_reloaded(struct control_server *server, uint64_t request, unsigned generation,
                             const char *problems) {
    static char reply[CONTROL_REPLY_BYTES];
    if (server == NULL)
        return;
    if (problems == NULL)
        snprintf(reply, sizeof reply, CONTROL_RELOADED "%u", generation);
    else
        snprintf(reply, sizeof reply, CONTROL_FAILED "%s", problems);
    for (struct list *at = server->connections.next; at != &server->connections; at = at->next) {
        struct control_socket *connection = LIST_OWNER(at, struct control_socket, link);
        if (connection->request == request) {
            control_send(connection->fd, reply, NULL, 0);
            close_socket(connection);
            return;
        }
    }
}

static void on_message(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    struct control_socket *connection = poll->data;
    enum connection_state state = connection->state;
    struct control_message message;
    const char *text = message.text;
    ssize_t len = control_receive(connection->fd, &message);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0 && state >= CONNECTION_UPGRADING)
        fail(connection, "has ended before it was ready");
    else if (len <= 0)
        close_socket(connection); /* control_is_served() has connected, or the client has ended */
    else if (state == CONNECTION_NEW && strcmp(text, CONTROL_RELOAD) == 0)
        on_reload(connection);
    else if (state == CONNECTION_NEW && strcmp(text, CONTROL_UPGRADE) == 0)
        on_upgrade(connection, &message);
    else if (state == CONNECTION_UPGRADING && strcmp(text, CONTROL_STATE) == 0 &&
             connection->server->options.has_state)
        on_state(connection);
    else if (state >= CONNECTION_UPGRADING && strcmp(text, CONTROL_READY) == 0)
        on_ready(connection);
    else
        fail(connection, "has sent an unknown message");
    control_close_fds(&message);
}

static void on_connection(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    const struct control_socket *listener = poll->data;
    pid_t pid;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (!control_trusts(fd, &pid)) {
        log_event(LOG_WARN, "upgrade_failed",
                  "a process of another user has asked for the sockets");
        close(fd);
        return;
    }
    struct control_socket *connection = new_socket(listener->server, fd, on_message);
    connection->pid = pid;
    list_append(&listener->server->connections, &connection->link);
}

/* ---- life ---- */

/* A listening socket at this path, to which only our own user can connect; or -1, with errno. */
static int listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    unlink(path);                  /* left by a killed process of the same number */
    fchmod(fd, S_IRUSR | S_IWUSR); /* before the file exists */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 8) == 0)
        return fd;
    int result = errno;
    close(fd);
    errno = result;
    return -1;
}

struct control_server *control_server_open(const struct control_server_options *options,
                                           char *error, size_t error_size) {
    struct control_server *server = mem_zalloc(sizeof *server);
    server->options = *options;
    list_init(&server->connections);
    int len = 0, fd = -1;
    if (control_path(options->pid_file, &server->address))
        len = snprintf(server->temporary, sizeof server->temporary, "%s.%ld",
                       server->address.sun_path, (long)getpid());
    errno = ENAMETOOLONG;
    if (len > 0 && (size_t)len < sizeof server->temporary)
        fd = listen_at(server->temporary);
    if (fd < 0) {
        snprintf(error, error_size, "cannot listen for upgrades at %s.sock: %s", options->pid_file,
                 strerror(errno));
        mem_free(server);
        return NULL;
    }
    server->listener = new_socket(server, fd, on_connection);
    return server;
}

bool control_server_place(struct control_server *server, char *error, size_t error_size) {
    const char *path = server->address.sun_path;
    struct stat info;
    if (lstat(path, &info) == 0 && !S_ISSOCK(info.st_mode)) {
        snprintf(error, error_size, "%s exists and is no socket: remove it", path);
        return false;
    }
    if (rename(server->temporary, path) != 0) {
        snprintf(error, error_size, "cannot listen for upgrades at %s: %s", path, strerror(errno));
        return false;
    }
    server->temporary[0] = '\0';
    server->in_place = true;
    server->file = socket_file_at(path);
    return true;
}

static bool is_lost(const struct control_server *server) {
    return server->in_place && list_empty(&server->connections) &&
           !socket_file_is_at(&server->file, server->address.sun_path);
}

bool control_server_restore(struct control_server **server, char *error, size_t error_size) {
    if (*server == NULL || !is_lost(*server))
        return true;
    const struct control_server_options *options = &(*server)->options;
    struct control_server *fresh = control_server_open(options, error, error_size);
    if (fresh == NULL)
        return false;
    if (control_is_served(options->pid_file)) {
        snprintf(error, error_size, "another server listens at %s.sock", options->pid_file);
    } else if (control_server_place(fresh, error, error_size)) {
        control_server_close(*server);
        *server = fresh;
        return true;
    }
    control_server_close(fresh);
    return false;
}

void control_server_close(struct control_server *server) {
    if (server == NULL)
        return;
    while (!list_empty(&server->connections))
        close_socket(LIST_OWNER(server->connections.next, struct control_socket, link));
    close_socket(server->listener);
    if (server->in_place)
        socket_file_remove(&server->file, server->address.sun_path);
    if (server->temporary[0] != '\0')
        unlink(server->temporary);
    mem_free(server);
}
