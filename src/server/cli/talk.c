/* talk.c -- `tidewire talk URL`. See talk.h.
 *
 * One poll() waits for the input and the connection. Input is not read while many bytes wait to be
 * sent; the connection is always read. So neither side can block the other. */
#include "server/cli/talk.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "core/frames/close_codes.h"
#include "core/frames/frame_reader.h"
#include "net/client/client_socket.h"
#include "net/client/ws_client.h"
#include "server/cli/talk_parts.h"
#include "server/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    WAIT_SECONDS = 1,       /* without --wait, for messages after the end of the input */
    CLOSE_MS = 3000,        /* for the server to answer a Close frame, */
    DISCONNECT_MS = 1000,   /* and then to end the connection */
    MAX_QUEUED = 64 * 1024, /* while more bytes wait to be sent, input is not read */
    READ_BYTES = 64 * 1024,
};

/* The longest line of input, and the longest message of the server, in bytes. */
static const size_t MAX_MESSAGE = (size_t)64 << 20;

/* Each state follows one that stands before it. */
enum talk_state {
    TALK_OPEN,           /* lines are sent, messages are printed */
    TALK_INPUT_OVER,     /* the input has ended: messages are still printed */
    TALK_CLOSE_SENT,     /* nothing more is sent: waits for the server's Close frame */
    TALK_CLOSE_RECEIVED, /* nothing more is read: waits for the end of the connection */
    TALK_OVER,
};

struct talk {
    const struct settings *settings;
    struct client_socket *server;
    struct frame_reader reader;
    struct buffer out;  /* frames to be sent */
    struct buffer line; /* of the input, without its end yet */
    bool from_terminal; /* the input is typed */
    bool to_terminal;
    enum talk_state state;
    bool failed;       /* for the exit code */
    uint64_t deadline; /* ms: on_deadline() moves the state on then; 0: never */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal) {
    (void)signal;
    interrupted++;
}

/* ---- sending ---- */

static void send_frame(struct talk *talk, enum opcode opcode, const void *payload, size_t len) {
    if (talk->state >= TALK_CLOSE_SENT)
        return;
    unsigned char *out = buffer_room(&talk->out, len + WS_CLIENT_HEADER_BYTES);
    talk->out.len += ws_client_frame(out, opcode, payload, len);
}

static void enter(struct talk *talk, enum talk_state state) {
    if (talk->state < state)
        talk->state = state;
}

/* `code` 0: the Close frame has no code. */
static void begin_close(struct talk *talk, unsigned code) {
    unsigned char payload[2] = {(unsigned char)(code >> 8), (unsigned char)code};
    send_frame(talk, OPCODE_CLOSE, payload, code == 0 ? 0 : 2);
    enter(talk, TALK_CLOSE_SENT);
    talk->deadline = clock_monotonic_ms() + CLOSE_MS;
}

static void send_line(struct talk *talk, const char *bytes, size_t len) {
    if (len > 0 && bytes[len - 1] == '\r')
        len--;
    if (utf8_valid(bytes, len)) {
        send_frame(talk, OPCODE_TEXT, bytes, len);
        return;
    }
    fputs("tidewire: talk: a line that is not UTF-8 was not sent\n", stderr);
    talk->failed = true;
}

/* After the input's end, and after each message from then on: closes when no further message
 * comes. */
static void wait_for_messages(struct talk *talk) {
    double seconds = talk->settings->wait_seconds;
    if (seconds < 0)
        seconds = talk->from_terminal ? 0 : WAIT_SECONDS;
    if (talk->state < TALK_CLOSE_SENT)
        talk->deadline = clock_monotonic_ms() + (uint64_t)(seconds * 1000) + 1;
}

static void read_input(struct talk *talk) {
    char piece[READ_BYTES];
    ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    const char *at = piece, *end = piece + (n > 0 ? n : 0);
    for (const char *line_end; (line_end = memchr(at, '\n', (size_t)(end - at))) != NULL;
         at = line_end + 1) {
        buffer_add(&talk->line, at, (size_t)(line_end - at));
        send_line(talk, buffer_start(&talk->line), talk->line.len);
        talk->line.len = 0;
    }
    buffer_add(&talk->line, at, (size_t)(end - at));
    if (talk->line.len > MAX_MESSAGE) {
        fprintf(stderr, "tidewire: talk: a line of more than %zu bytes\n", MAX_MESSAGE);
        talk->failed = true;
        begin_close(talk, CLOSE_NORMAL);
    } else if (n <= 0) {
        if (talk->line.len > 0)
            send_line(talk, buffer_start(&talk->line), talk->line.len);
        enter(talk, TALK_INPUT_OVER);
        wait_for_messages(talk);
    }
}

static void write_out(struct talk *talk) {
    while (talk->out.len > 0) {
        ssize_t n = client_socket_write(talk->server, buffer_start(&talk->out), talk->out.len);
        if (n <= 0)
            return; /* read_server() reports a lost connection */
        buffer_drop(&talk->out, (size_t)n);
    }
}

/* ---- receiving ---- */

static void print_close(unsigned code, const char *reason, size_t len) {
    if (code == CLOSE_NO_STATUS)
        fputs("closed by the server, without a code", stderr);
    else
        fprintf(stderr, "closed by the server: %u", code);
    if (len > 0) {
        fputs(" \"", stderr);
        talk_show_text(stderr, reason, len, true);
        fputc('"', stderr);
    }
    fputc('\n', stderr);
}

static void on_close(struct talk *talk, const struct frame *frame) {
    unsigned code;
    const char *reason;
    size_t len;
    bool is_ours = talk->state >= TALK_CLOSE_SENT;
    if (!frame_reader_close_valid(frame->payload, frame->len, &code, &reason, &len)) {
        fputs("closed by the server, with an invalid Close frame\n", stderr);
        talk->failed = true;
        begin_close(talk, CLOSE_PROTOCOL);
    } else if (!is_ours) {
        print_close(code, reason, len);
        talk->failed |= code != CLOSE_NORMAL && code != CLOSE_GOING_AWAY && code != CLOSE_NO_STATUS;
        begin_close(talk, code == CLOSE_NO_STATUS ? 0 : code);
    } else if (talk->from_terminal) {
        fprintf(stderr, "closed: %u\n", code);
    }
    enter(talk, TALK_CLOSE_RECEIVED);
    talk->deadline = clock_monotonic_ms() + DISCONNECT_MS;
}

static void on_frame(struct talk *talk, enum frame_kind kind, const struct frame *frame) {
    switch (kind) {
    case FRAME_TEXT:
    case FRAME_BINARY:
        if (kind == FRAME_TEXT && !utf8_valid(frame->payload, frame->len)) {
            fputs("tidewire: talk: the server has sent text that is not UTF-8\n", stderr);
            talk->failed = true;
            begin_close(talk, CLOSE_BAD_PAYLOAD);
            return;
        }
        if (talk->from_terminal && talk->to_terminal)
            fputs("< ", stdout);
        talk_show_message(stdout, frame->payload, frame->len, kind == FRAME_BINARY,
                          talk->to_terminal);
        if (talk->state >= TALK_INPUT_OVER)
            wait_for_messages(talk);
        return;
    case FRAME_PING:
        send_frame(talk, OPCODE_PONG, frame->payload, frame->len);
        return;
    case FRAME_CLOSE:
        on_close(talk, frame);
        return;
    case FRAME_ERROR:
        fprintf(stderr, "tidewire: talk: the server breaks the protocol: %s\n", frame->why);
        talk->failed = true;
        begin_close(talk, frame->code);
        enter(talk, TALK_CLOSE_RECEIVED);
        return;
    case FRAME_PONG:
    case FRAME_COMPRESSED_TEXT: /* not offered, so the reader takes RSV1 for an error */
    case FRAME_COMPRESSED_BINARY:
    case FRAME_MORE:
        return;
    }
}

static void on_bytes(struct talk *talk, char *bytes, size_t len) {
    struct frame_limits limits = {MAX_MESSAGE, 1u << 20};
    struct frame frame;
    while (talk->state < TALK_CLOSE_RECEIVED && len > 0) {
        enum frame_kind kind = frame_reader_next_cold(&talk->reader, &bytes, &len, &limits, &frame);
        if (kind == FRAME_MORE)
            break;
        on_frame(talk, kind, &frame);
    }
    if (fflush(stdout) != 0) /* the reader of the output has ended */
        begin_close(talk, CLOSE_NORMAL);
}

/* The connection has ended, or the server has not answered the Close frame. */
static void on_end(struct talk *talk, const char *problem) {
    if (talk->state < TALK_CLOSE_RECEIVED) {
        fprintf(stderr, "%s\n", problem);
        talk->failed = true;
    }
    enter(talk, TALK_OVER);
}

static void read_server(struct talk *talk) {
    static char bytes[READ_BYTES];
    ssize_t n = client_socket_read(talk->server, bytes, sizeof bytes);
    if (n > 0)
        on_bytes(talk, bytes, (size_t)n);
    else if (n != CLIENT_SOCKET_LATER)
        on_end(talk, "the connection was lost, without a Close frame (1006)");
}

/* ---- the loop ---- */

static void on_deadline(struct talk *talk) {
    if (talk->state >= TALK_CLOSE_SENT)
        on_end(talk, "the server has not answered the Close frame");
    else if (talk->out.len > 0) /* the server is slow to read */
        wait_for_messages(talk);
    else
        begin_close(talk, CLOSE_NORMAL);
}

/* Signals are blocked but while poll() waits, so that none is missed. */
static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_interrupt};
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    sigprocmask(SIG_BLOCK, &both, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* poll() of two descriptors, during which signals come; `ms` -1: without a timeout. */
static int wait_for(struct pollfd *fds, int ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    sigset_t none;
    sigemptyset(&none);
    return ppoll(fds, 2, ms < 0 ? NULL : &time, &none);
}

static void step(struct talk *talk) {
    bool reads_input = talk->state == TALK_OPEN && talk->out.len < MAX_QUEUED;
    struct pollfd fds[2] = {
        {.fd = client_socket_fd(talk->server),
         .events = client_socket_events(talk->server, talk->out.len > 0)},
        {.fd = reads_input ? STDIN_FILENO : -1, .events = POLLIN},
    };
    uint64_t now = clock_monotonic_ms();
    int wait_ms = talk->deadline == 0     ? -1
                  : talk->deadline <= now ? 0
                                          : (int)(talk->deadline - now);
    if (client_socket_has_pending(talk->server))
        wait_ms = 0;
    int n = wait_for(fds, wait_ms);
    if (interrupted > 0 && talk->state < TALK_CLOSE_SENT)
        begin_close(talk, CLOSE_NORMAL);
    else if (interrupted > 1)
        enter(talk, TALK_OVER);
    /* Messages go before input: a server closes a client that sends and does not read. */
    if (n > 0 && fds[1].revents != 0 && !(fds[0].revents & POLLIN))
        read_input(talk);
    if (n > 0 && (fds[0].revents & POLLOUT))
        write_out(talk);
    if ((n > 0 && (fds[0].revents & (POLLIN | POLLHUP | POLLERR))) ||
        client_socket_has_pending(talk->server))
        read_server(talk);
    if (talk->out.len > 0 && talk->state < TALK_OVER)
        write_out(talk);
    if (talk->deadline != 0 && clock_monotonic_ms() >= talk->deadline)
        on_deadline(talk);
}

static int run(struct talk *talk, const struct url *url) {
    struct buffer rest = {0};
    int code = talk_open(talk->settings, talk->server, url, &rest);
    if (code == EXIT_CLEAN) {
        catch_signals();
        talk->reader.from_server = true;
        on_bytes(talk, buffer_start(&rest), rest.len);
        while (talk->state < TALK_OVER)
            step(talk);
        code = talk->failed ? EXIT_FAILED : EXIT_CLEAN;
    }
    buffer_free(&rest);
    return code;
}

int talk_run(const struct settings *settings) {
    struct url url;
    char error[512];
    signal(SIGPIPE, SIG_IGN);
    if (!url_parse(settings->target, &url, error, sizeof error)) {
        talk_complain(settings, error);
        url_close(&url);
        return EXIT_USAGE;
    }
    struct talk talk = {
        .settings = settings,
        .from_terminal = isatty(STDIN_FILENO) != 0,
        .to_terminal = isatty(STDOUT_FILENO) != 0,
    };
    int code = EXIT_FAILED;
    talk.server =
        client_socket_open(&url, settings->insecure, TALK_CONNECT_MS, error, sizeof error);
    if (talk.server == NULL)
        talk_complain(settings, error);
    else
        code = run(&talk, &url);
    client_socket_close(talk.server);
    frame_reader_reset(&talk.reader);
    buffer_free(&talk.out);
    buffer_free(&talk.line);
    url_close(&url);
    return code;
}
