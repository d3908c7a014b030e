/* raw_echo.c -- the baseline: a WebSocket echo server and nothing more.
 *
 *   raw_echo            listens on a free port of 127.0.0.1 and prints "port=N"
 *   raw_echo bcast      the same, and sends each message to all clients
 *
 * One thread, one epoll. One send answers all messages of one recv, from the same buffer. No
 * server that answers each message can do less, so a real server's additional time is the price of
 * its features. It trusts its client: a frame must be masked and below 64 KiB, and it has no
 * limits, time-outs or UTF-8 checks. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    READ_BYTES = 512 * 1024,
    EVENTS = 512,
    MASK_BYTES = 4,
    MAX_PEERS = 30000,
    LONG_HEADER = 4, /* two bytes and a 16-bit length */
};

/* Bytes that wait: of a frame or request head not whole yet, or for a socket that is full. */
struct rest {
    uint8_t *bytes;
    size_t size;
};

struct peer {
    int fd;
    bool open;    /* the handshake is done */
    size_t place; /* among the peers */
    struct rest in;
    struct rest out;
};

static int epoll_fd;
static bool to_all;
static struct peer *peers[MAX_PEERS];
static size_t peer_count;
/* A rest, what a read brought behind it, and a NUL behind a request head. */
static uint8_t work[2 * READ_BYTES + 1];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void keep(struct rest *rest, const uint8_t *bytes, size_t size) {
    uint8_t *copy = NULL;
    if (size > 0) {
        copy = malloc(size);
        if (copy == NULL)
            fail("malloc");
        memcpy(copy, bytes, size);
    }
    free(rest->bytes);
    rest->bytes = copy;
    rest->size = size;
}

static void watch(struct peer *peer, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(epoll_fd, operation, peer->fd, &event) != 0)
        fail("epoll_ctl");
}

static void end(struct peer *peer) {
    peers[peer->place] = peers[--peer_count];
    peers[peer->place]->place = peer->place;
    close(peer->fd);
    free(peer->in.bytes);
    free(peer->out.bytes);
    free(peer);
}

/* Sends, and keeps what the socket does not take. While something waits nothing is read, so that
 * there is never more than one rest. */
static bool answer(struct peer *peer, const uint8_t *bytes, size_t size) {
    ssize_t sent = send(peer->fd, bytes, size, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            return false;
        sent = 0;
    }
    bool waited = peer->out.size > 0;
    bool waits = (size_t)sent < size;
    if (waits || waited)
        keep(&peer->out, bytes + sent, size - (size_t)sent);
    if (waits != waited)
        watch(peer, EPOLL_CTL_MOD, waits ? EPOLLOUT : EPOLLIN);
    return true;
}

/* Behind what waits for this peer already. */
static void add_to_rest(struct rest *rest, const uint8_t *bytes, size_t size) {
    rest->bytes = realloc(rest->bytes, rest->size + size);
    if (rest->bytes == NULL)
        fail("realloc");
    memcpy(rest->bytes + rest->size, bytes, size);
    rest->size += size;
}

/* Ignores broken sockets: epoll reports them, which ends their peers. */
static void send_to_all(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < peer_count; i++) {
        if (peers[i]->out.size > 0)
            add_to_rest(&peers[i]->out, bytes, size);
        else if (peers[i]->open)
            answer(peers[i], bytes, size);
    }
}

/* Answers the request head in `work`, once it is whole. */
static bool shake_hands(struct peer *peer, size_t size) {
    static const char name[] = "\r\nSec-WebSocket-Key: ";
    work[size] = '\0';
    if (strstr((char *)work, "\r\n\r\n") == NULL) {
        keep(&peer->in, work, size);
        return size < READ_BYTES;
    }
    char *key = strcasestr((char *)work, name);
    if (key == NULL)
        return false;
    key += strlen(name);

    char text[128];
    int length = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;
    EVP_Digest(text, (size_t)length, digest, &digest_size, EVP_sha1(), NULL);
    char accept[64];
    EVP_EncodeBlock((uint8_t *)accept, digest, (int)digest_size);

    char head[256];
    length = snprintf(head, sizeof head,
                      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                      "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                      accept);
    peer->open = true;
    keep(&peer->in, NULL, 0);
    return answer(peer, (uint8_t *)head, (size_t)length);
}

/* `to` lies before `from` and may overlap it. */
static void unmask(uint8_t *to, const uint8_t *from, size_t size, const uint8_t mask[MASK_BYTES]) {
    uint64_t wide, word;
    memcpy(&wide, mask, MASK_BYTES);
    memcpy((uint8_t *)&wide + MASK_BYTES, mask, MASK_BYTES);
    size_t i = 0;
    for (; i + sizeof word <= size; i += sizeof word) {
        memcpy(&word, from + i, sizeof word);
        word ^= wide;
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < size; i++)
        to[i] = from[i] ^ mask[i % MASK_BYTES];
}

/* Turns the whole frames of `work` into their echoes in place: an echo is four bytes shorter than
 * its frame, so what is written never overtakes what is read. */
static bool echo(struct peer *peer, size_t size) {
    size_t read = 0, written = 0;
    bool closing = false;
    while (size - read >= 2 && !closing) {
        const uint8_t *frame = work + read;
        size_t header = 2, payload = frame[1] & 0x7f;
        if ((frame[1] & 0x80) == 0 || payload == 127)
            return false;
        if (payload == 126) {
            header = LONG_HEADER;
            if (size - read < header)
                break;
            payload = (size_t)frame[2] << 8 | frame[3];
        }
        if (size - read < header + MASK_BYTES + payload)
            break;

        uint8_t mask[MASK_BYTES];
        memcpy(mask, frame + header, MASK_BYTES);
        closing = (frame[0] & 0x0f) == 8;
        memmove(work + written, frame, header);
        work[written + 1] &= 0x7f;
        unmask(work + written + header, frame + header + MASK_BYTES, payload, mask);
        read += header + MASK_BYTES + payload;
        written += header + payload;
    }
    if (read < size || peer->in.size > 0)
        keep(&peer->in, work + read, size - read);
    if (to_all && written > 0 && !closing) {
        send_to_all(work, written);
        return true;
    }
    return (written == 0 || answer(peer, work, written)) && !closing;
}

static bool on_readable(struct peer *peer) {
    size_t have = peer->in.size;
    if (have > 0)
        memcpy(work, peer->in.bytes, have);
    ssize_t got = recv(peer->fd, work + have, READ_BYTES, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    have += (size_t)got;
    return peer->open ? echo(peer, have) : shake_hands(peer, have);
}

static void on_event(struct peer *peer, uint32_t events) {
    bool good = true;
    if (events & EPOLLOUT) {
        struct rest out = peer->out;
        peer->out.bytes = NULL; /* answer() keeps a copy of what is left */
        good = answer(peer, out.bytes, out.size);
        free(out.bytes);
    }
    if (good && (events & ~(uint32_t)EPOLLOUT))
        good = on_readable(peer);
    if (!good)
        end(peer);
}

static int listen_somewhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        fail("listen");
    printf("port=%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct peer *peer = calloc(1, sizeof *peer);
        if (peer == NULL)
            fail("calloc");
        if (peer_count == MAX_PEERS)
            fail("too many connections");
        peer->fd = fd;
        peer->place = peer_count;
        peers[peer_count++] = peer;
        watch(peer, EPOLL_CTL_ADD, EPOLLIN);
    }
}

int main(int argc, char **argv) {
    to_all = argc > 1 && strcmp(argv[1], "bcast") == 0;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        fail("epoll_create1");
    struct peer listener = {.fd = listen_somewhere()};
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);

    static struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct peer *peer = events[i].data.ptr;
            if (peer == &listener)
                accept_all(listener.fd);
            else
                on_event(peer, events[i].events);
        }
    }
}
