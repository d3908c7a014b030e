/* clients.c -- the connections of the load generator. See clients.h. */
#include "clients.h"

#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    READ_BYTES = 256 * 1024,
    EVENTS = 512,
    MASK_BYTES = 4,
    MAX_HEADER = 14, /* two bytes, a 64-bit length, a mask */
    /* of a stalled connection; the size of segments decides how much its sender's kernel buffers */
    STALLED_RECEIVE_BYTES = 4096,
    STALLED_SEGMENT_BYTES = 536,
};

/* The messages that a connection sends at a time, and the answer to each of them. */
struct script {
    uint8_t *request;
    size_t request_size;
    uint8_t *message;
    size_t message_size;
};

static struct script script;
static struct client *clients;
static int epoll_fd;

/* ---- frames ---- */

static size_t put_header(uint8_t *at, bool masked) {
    size_t size = (size_t)options.size, length_bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
    at[0] = 0x81; /* text, whole */
    at[1] = (uint8_t)(size < 126 ? size : size < 65536 ? 126 : 127);
    if (masked)
        at[1] |= 0x80;
    for (size_t i = 0; i < length_bytes; i++)
        at[2 + i] = (uint8_t)((uint64_t)size >> (8 * (length_bytes - 1 - i)));
    return 2 + length_bytes;
}

static void write_script(int depth) {
    static const uint8_t mask[MASK_BYTES] = {0x5a, 0xc3, 0x17, 0x8e};
    size_t size = (size_t)options.size;
    script.message = malloc(size + MAX_HEADER);
    script.request = malloc((size + MAX_HEADER) * (size_t)depth);
    if (script.message == NULL || script.request == NULL)
        fail("no memory");

    script.message_size = put_header(script.message, false);
    for (size_t i = 0; i < size; i++)
        script.message[script.message_size++] = (uint8_t)('a' + i % 26);

    const uint8_t *payload = script.message + script.message_size - size;
    uint8_t *at = script.request;
    for (int n = 0; n < depth; n++) {
        at += put_header(at, true);
        memcpy(at, mask, MASK_BYTES);
        at += MASK_BYTES;
        for (size_t i = 0; i < size; i++)
            *at++ = payload[i] ^ mask[i % MASK_BYTES];
    }
    script.request_size = (size_t)(at - script.request);
}

/* ---- handshakes ---- */

/* The example of RFC 6455, section 1.3: a key and the answer that it must get. */
static const char REQUEST[] = "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/* Reads the head of the response, which no message follows: the server only answers. */
static void do_handshake(int fd) {
    char text[4096];
    int request = snprintf(text, sizeof text, REQUEST, options.path);
    if (request >= (int)sizeof text)
        fail("the path is too long");
    if (send(fd, text, (size_t)request, MSG_NOSIGNAL) != request)
        fail("the request could not be sent: %s", strerror(errno));
    size_t size = 0;
    do {
        ssize_t got = recv(fd, text + size, sizeof text - 1 - size, 0);
        if (got <= 0)
            fail("the server ended a handshake: %s", got == 0 ? "closed" : strerror(errno));
        size += (size_t)got;
        text[size] = '\0';
    } while (strstr(text, "\r\n\r\n") == NULL && size < sizeof text - 1);
    if (strstr(text, ACCEPT) == NULL)
        fail("the server refused a connection: %.*s", (int)strcspn(text, "\r\n"), text);
}

static void allow_files(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if ((rlim_t)options.connections + 16 > files.rlim_max)
        fail("%d connections need more open files than the %llu that are allowed (ulimit -n)",
             options.connections, (unsigned long long)files.rlim_max);
}

static int open_socket(int number, bool stalled) {
    static const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    static const int one = 1, receive = STALLED_RECEIVE_BYTES, segment = STALLED_SEGMENT_BYTES;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (stalled) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive);
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connection %d to port %d: %s", number + 1, options.port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    do_handshake(fd);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

void clients_open(int depth, int stalled) {
    write_script(depth);
    allow_files();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc((size_t)options.connections, sizeof *clients);
    if (clients == NULL)
        fail("no memory");
    for (int i = 0; i < options.connections; i++) {
        bool reads = i < options.connections - stalled;
        clients[i].fd = open_socket(i, !reads);
        clients[i].sent = script.request_size;
        struct epoll_event event = {.events = reads ? EPOLLIN : 0, .data.ptr = &clients[i]};
        if (reads)
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, clients[i].fd, &event);
    }
}

struct client *clients_get(int number) {
    return &clients[number];
}

/* ---- sending and receiving ---- */

static void send_rest(struct client *client) {
    ssize_t sent = send(client->fd, script.request + client->sent,
                        script.request_size - client->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        fail("send: %s", strerror(errno));
    size_t before = client->sent;
    client->sent += sent > 0 ? (size_t)sent : 0;
    bool waits = client->sent < script.request_size;
    if (waits || before > 0) {
        struct epoll_event event = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                    .data.ptr = client};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event);
    }
}

void clients_send(struct client *client) {
    if (client->sent < script.request_size)
        fail("the server reads more slowly than the client sends");
    client->sent = 0;
    send_rest(client);
}

/* Reads from the socket. Returns the number of messages that are complete. */
static int receive(struct client *client) {
    static uint8_t buffer[READ_BYTES];
    ssize_t got = recv(client->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        fail("the server ended a connection: %s", got == 0 ? "closed" : strerror(errno));
    int whole = 0;
    for (size_t at = 0; at < (size_t)got;) {
        size_t part = script.message_size - client->seen;
        if (part > (size_t)got - at)
            part = (size_t)got - at;
        if (memcmp(buffer + at, script.message + client->seen, part) != 0)
            fail("a received message differs from the sent one");
        at += part;
        client->seen += part;
        if (client->seen == script.message_size) {
            client->seen = 0;
            whole++;
        }
    }
    client->received += (uint64_t)whole;
    return whole;
}

void clients_serve(double seconds, void (*on_messages)(struct client *client, int messages)) {
    static struct epoll_event events[EVENTS];
    struct timespec longest = {.tv_sec = (time_t)seconds,
                               .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    int count = epoll_pwait2(epoll_fd, events, EVENTS, &longest, NULL);
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            send_rest(client);
        if ((events[i].events & ~(uint32_t)EPOLLOUT) == 0)
            continue;
        int messages = receive(client);
        if (messages > 0)
            on_messages(client, messages);
    }
}

void clients_read_some(struct client *client, int bytes) {
    char buffer[65536];
    size_t most = (size_t)bytes < sizeof buffer ? (size_t)bytes : sizeof buffer;
    if (recv(client->fd, buffer, most, 0) == 0)
        fail("the server ended a connection");
}
