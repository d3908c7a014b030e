/* talk_open.c -- the handshake of `tidewire talk`, and its errors. See talk_parts.h. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "net/client/ws_client.h"
#include "server/cli/talk_parts.h"
#include "server/server.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_HEAD = 64 * 1024,   /* bytes of the response's head */
    MAX_REFUSAL = 4 * 1024, /* bytes of a refusal's body that are printed */
};

int talk_complain(const struct settings *settings, const char *why) {
    fprintf(stderr, "tidewire: talk: %s: %s\n", settings->target, why);
    return EXIT_FAILED;
}

/* Waits for more bytes of the server, and adds them. 0: the connection has ended; -1: the deadline
 * has passed. */
static ssize_t read_more(struct client_socket *server, struct buffer *bytes, uint64_t deadline) {
    for (;;) {
        char piece[4096];
        ssize_t n = client_socket_read(server, piece, sizeof piece);
        if (n > 0)
            buffer_add(bytes, piece, (size_t)n);
        if (n != CLIENT_SOCKET_LATER)
            return n == CLIENT_SOCKET_BROKEN ? 0 : n;
        uint64_t now = clock_monotonic_ms();
        struct pollfd fd = {.fd = client_socket_fd(server),
                            .events = client_socket_events(server, false)};
        if (now >= deadline || (poll(&fd, 1, (int)(deadline - now)) == 0))
            return -1;
    }
}

static bool write_request(struct client_socket *server, const char *request, uint64_t deadline) {
    for (size_t left = strlen(request); left > 0;) {
        ssize_t n = client_socket_write(server, request, left);
        if (n > 0) {
            request += n;
            left -= (size_t)n;
            continue;
        }
        uint64_t now = clock_monotonic_ms();
        struct pollfd fd = {.fd = client_socket_fd(server),
                            .events = client_socket_events(server, true)};
        if (n != CLIENT_SOCKET_LATER || now >= deadline || poll(&fd, 1, (int)(deadline - now)) == 0)
            return false;
    }
    return true;
}

/* Prints a refusal: its status, and the beginning of its body. Returns EXIT_FAILED. */
static int print_refusal(const struct settings *settings, struct client_socket *server,
                         struct buffer *bytes, const struct ws_client_response *response) {
    fprintf(stderr, "tidewire: talk: %s: refused: %d ", settings->target, response->status);
    talk_show_text(stderr, response->reason.bytes, response->reason.len, true);
    if (response->location.len > 0) {
        fputs(", it redirects to ", stderr);
        talk_show_text(stderr, response->location.bytes, response->location.len, true);
    }
    fputc('\n', stderr);
    size_t wanted = response->content_length < 0 || response->content_length > MAX_REFUSAL
                        ? MAX_REFUSAL
                        : (size_t)response->content_length;
    buffer_drop(bytes, response->head_len);
    uint64_t deadline = clock_monotonic_ms() + 1000;
    while (bytes->len < wanted && read_more(server, bytes, deadline) > 0)
        ;
    size_t len = bytes->len < wanted ? bytes->len : wanted;
    while (len > 0 &&
           (buffer_start(bytes)[len - 1] == '\n' || buffer_start(bytes)[len - 1] == '\r'))
        len--;
    if (len > 0 && utf8_valid(buffer_start(bytes), len)) {
        talk_show_text(stderr, buffer_start(bytes), len, true);
        fputc('\n', stderr);
    }
    return EXIT_FAILED;
}

int talk_open(const struct settings *settings, struct client_socket *server, const struct url *url,
              struct buffer *rest) {
    struct ws_client_options options = {settings->headers.texts, settings->headers.count,
                                        settings->subprotocols.texts, settings->subprotocols.count};
    char key[WS_CLIENT_KEY_BYTES], *request = ws_client_write_request(url, &options, key);
    uint64_t deadline = clock_monotonic_ms() + TALK_CONNECT_MS;
    bool written = write_request(server, request, deadline);
    mem_free(request);
    struct ws_client_response response;
    ssize_t n = written ? 1 : 0;
    while (n > 0 && rest->len < MAX_HEAD &&
           (rest->len == 0 ||
            !ws_client_read_response(buffer_start(rest), rest->len, key, &options, &response)))
        n = read_more(server, rest, deadline);
    if (rest->len == 0 ||
        !ws_client_read_response(buffer_start(rest), rest->len, key, &options, &response))
        return talk_complain(settings, n < 0    ? "no response in time"
                                       : n == 0 ? "the connection ended without a response"
                                                : "the head of the response is too large");
    if (response.fault != NULL)
        return talk_complain(settings, response.fault);
    if (response.status != 101)
        return print_refusal(settings, server, rest, &response);
    if (isatty(STDIN_FILENO)) {
        fprintf(stderr, "connected to %s", settings->target);
        if (response.protocol.len > 0)
            fprintf(stderr, " (%.*s)", (int)response.protocol.len, response.protocol.bytes);
        fputs("; each line is a message, Ctrl-D closes\n", stderr);
    }
    buffer_drop(rest, response.head_len);
    return EXIT_CLEAN;
}
