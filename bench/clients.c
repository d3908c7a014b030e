/* clients.c -- the connections of the load generator. See clients.h. */
#include "clients.h"

#include "load.h"
#include "messages.h"
#include "transport.h"

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
    PING = 0x89, /* the first byte of its frame */
    /* an address of its own for so many connections, because an address has some 28,000 ports */
    CONNECTIONS_PER_ADDRESS = 10000,
    /* of a stalled connection; the size of segments decides how much its sender's kernel buffers */
    STALLED_RECEIVE_BYTES = 4096,
    STALLED_SEGMENT_BYTES = 536,
};

static struct client *clients;
static int epoll_fd;

/* ---- connecting ---- */

/* The example of RFC 6455, section 1.3: a key and the answer that it must get. */
static const char REQUEST[] = "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/* Reads the head of the response, which no message follows: the server only answers. */
static void do_handshake(struct client *client) {
    char text[4096];
    int request = snprintf(text, sizeof text, REQUEST, options.path);
    if (request >= (int)sizeof text)
        fail("the path is too long");
    if (transport_send(client, text, (size_t)request) != request)
        fail("the request could not be sent: %s", strerror(errno));
    size_t size = 0;
    do {
        ssize_t got = transport_receive(client, text + size, sizeof text - 1 - size);
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
    struct sockaddr_in own = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(number / CONNECTIONS_PER_ADDRESS))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (stalled) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive);
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&own, sizeof own) != 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connection %d to port %d: %s", number + 1, options.port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void open_client(struct client *client, bool reads) {
    client->fd = open_socket((int)(client - clients), !reads);
    client->request = messages_request(client->sends);
    client->sent = messages_request_size();
    transport_open(client);
    do_handshake(client);
}

static void watch_client(struct client *client, bool reads) {
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (reads)
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event);
}

/* The first client asks how the server writes JSON, before the others are there. */
static void learn_answer(struct client *client) {
    size_t size = messages_answer_size(), request = messages_request_size() / (size_t)options.depth;
    uint8_t *answer = malloc(size);
    if (answer == NULL)
        fail("no memory");
    if (transport_send(client, messages_request(0), request) != (ssize_t)request)
        fail("the first message could not be sent: %s", strerror(errno));
    for (size_t at = 0; at < size;) {
        ssize_t got = transport_receive(client, answer + at, size - at);
        if (got <= 0)
            fail("the first message got no answer: %s", got == 0 ? "closed" : strerror(errno));
        at += (size_t)got;
    }
    messages_learn(answer);
    free(answer);
}

static int opened; /* clients that are connected */

static void open_until(int count, int stalled) {
    for (; opened < count; opened++) {
        bool reads = opened < options.connections - stalled;
        open_client(&clients[opened], reads);
        if (opened == 0 && options.json)
            learn_answer(&clients[opened]);
        watch_client(&clients[opened], reads);
    }
}

void clients_open_first(int depth, int count) {
    options.depth = depth;
    messages_write(depth);
    allow_files();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc((size_t)options.connections, sizeof *clients);
    if (clients == NULL)
        fail("no memory");
    open_until(count, 0);
}

void clients_open(int depth, int stalled) {
    if (clients == NULL)
        clients_open_first(depth, 0);
    open_until(options.connections, stalled);
}

void clients_spread(void) {
    for (int i = 0; i < options.connections; i++) {
        clients[i].sends = (int)((int64_t)i * options.texts / options.connections);
        clients[i].receives = clients[i].sends;
    }
}

struct client *clients_get(int number) {
    return &clients[number];
}

/* ---- sending and receiving ---- */

static void send_rest(struct client *client) {
    size_t before = client->sent, size = messages_request_size();
    ssize_t sent = transport_send(client, client->request + before, size - before);
    if (sent < 0 && errno != EAGAIN)
        fail("send: %s", strerror(errno));
    client->sent += sent > 0 ? (size_t)sent : 0;
    bool waits = client->sent < size;
    if (waits || before > 0) {
        struct epoll_event event = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                    .data.ptr = client};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event);
    }
}

void clients_send(struct client *client) {
    if (client->sent < messages_request_size())
        fail("the server reads more slowly than the client sends");
    client->request = messages_request(client->sends);
    client->sends = messages_after(client->sends, options.depth);
    client->sent = 0;
    send_rest(client);
}

/* Between two frames of the client's own: a server that has no answer in time ends the connection.
 * Where the socket is full the server does not read, and needs none. */
static void send_pong(struct client *client) {
    size_t size = client->ping_seen - 2;
    uint8_t pong[CLIENTS_MAX_PING + MASK_BYTES] = {0x8a, (uint8_t)(0x80 | size)}; /* mask 0 */
    memcpy(pong + 2 + MASK_BYTES, client->ping + 2, size);
    if (client->sent == messages_request_size())
        transport_send(client, pong, 2 + MASK_BYTES + size);
}

/* Takes bytes of a Ping frame. Returns their number. */
static size_t receive_ping(struct client *client, const uint8_t *bytes, size_t size) {
    size_t taken = 0;
    while (taken < size && client->ping_seen < CLIENTS_MAX_PING) {
        client->ping[client->ping_seen++] = bytes[taken++];
        if (client->ping_seen >= 2 && client->ping_seen == 2 + (size_t)client->ping[1]) {
            send_pong(client);
            client->ping_seen = 0;
            return taken;
        }
    }
    if (client->ping_seen == CLIENTS_MAX_PING)
        fail("a Ping frame is too long");
    return taken;
}

/* A received message differs from the expected one: says how. */
static void fail_by_message(struct client *client, const uint8_t *bytes, size_t size) {
    char text[64] = "";
    for (size_t i = 0, at = 0; i < size && at < sizeof text - 4; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, " %02x", bytes[i]);
    fail("connection %d received other bytes than expected, at byte %zu of a frame:%s",
         (int)(client - clients) + 1, client->seen, text);
}

/* Reads from the socket. Returns the number of messages that are complete. */
static int receive(struct client *client) {
    static uint8_t buffer[READ_BYTES];
    ssize_t got = transport_receive(client, buffer, sizeof buffer);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        fail("the server ended a connection: %s", got == 0 ? "closed" : strerror(errno));
    size_t size = messages_answer_size();
    int whole = 0;
    for (size_t at = 0; at < (size_t)got;) {
        if (client->seen == 0 && (client->ping_seen > 0 || buffer[at] == PING)) {
            at += receive_ping(client, buffer + at, (size_t)got - at);
            continue;
        }
        size_t part = size - client->seen;
        if (part > (size_t)got - at)
            part = (size_t)got - at;
        if (memcmp(buffer + at, messages_answer(client->receives) + client->seen, part) != 0)
            fail_by_message(client, buffer + at, part);
        at += part;
        client->seen += part;
        if (client->seen == size) {
            client->seen = 0;
            client->receives = messages_after(client->receives, 1);
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
    if (transport_receive(client, buffer, most) == 0)
        fail("the server ended a connection");
}

/* ---- leaving ---- */

void clients_replace(struct client *client) {
    static const uint8_t leave[] = {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8}; /* Close 1000, masked */
    char rest[256];
    fcntl(client->fd, F_SETFL, 0);
    if (transport_send(client, leave, sizeof leave) != sizeof leave)
        fail("a Close frame could not be sent: %s", strerror(errno));
    ssize_t got;
    while ((got = transport_receive(client, rest, sizeof rest)) > 0)
        ;
    if (got < 0 && errno != ECONNRESET)
        fail("the server does not end a connection: %s", strerror(errno));
    transport_close(client);
    client->sends = client->receives = clients[0].sends;
    client->received = 0;
    open_client(client, true);
    watch_client(client, true);
}

void clients_reset(struct client *client) {
    static const struct linger at_once = {.l_onoff = 1};
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    transport_close(client);
}
