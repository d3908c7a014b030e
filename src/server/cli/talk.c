/* talk.c -- `tidewire talk URL`. See talk.h.
 *
 * One poll() for the terminal and the connection. Nothing is read of the input while much waits to
 * be sent, and what the server says is always read, so neither side can make the other stand
 * still. */
#include "server/cli/talk.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/frames/close_codes.h"
#include "core/frames/frame_reader.h"
#include "net/client/client_socket.h"
#include "net/client/ws_client.h"
#include "server/cli/talk_parts.h"
#include "server/cli/talk_show.h"
#include "server/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    ANSWER_MS = 3000,         /* for the server to answer a Close frame */
    MOST_WAITING = 64 * 1024, /* bytes to be sent above which no input is read */
    READ_BYTES = 64 * 1024,
};

/* A line of input and a message of the server's may be so long. */
static const size_t MOST_BYTES = (size_t)64 << 20;

struct talk {
    const struct settings *settings;
    struct client_socket *server;
    struct frame_reader reader;
    struct bytes out;  /* what is to be sent */
    struct bytes line; /* the input's last line, which has not ended */
    bool is_typed;     /* a person types */
    bool is_shown;     /* on a terminal */
    bool input_over;
    bool close_sent, close_came, is_over, failed;
    uint64_t deadline; /* ms: what ends it then, if nothing else; 0: nothing */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal) {
    (void)signal;
    interrupted++;
}

/* ---- what is said to the server ---- */

static void send_frame(struct talk *talk, enum opcode opcode, const void *payload, size_t len) {
    if (talk->close_sent)
        return;
    unsigned char *out = bytes_room(&talk->out, len + WS_CLIENT_HEADER_BYTES);
    talk->out.len += ws_client_frame(out, opcode, payload, len);
}

static void begin_close(struct talk *talk, unsigned code) {
    unsigned char payload[2] = {(unsigned char)(code >> 8), (unsigned char)code};
    send_frame(talk, OPCODE_CLOSE, payload, code == 0 ? 0 : 2);
    talk->close_sent = true;
    talk->input_over = true;
    talk->deadline = clock_monotonic_ms() + ANSWER_MS;
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

/* After the last line of a pipe, and after each answer from then on. */
static void wait_for_answers(struct talk *talk) {
    double seconds = talk->settings->wait_seconds;
    if (talk->is_typed && !talk->settings->has_wait)
        seconds = 0;
    if (!talk->close_sent)
        talk->deadline = clock_monotonic_ms() + (uint64_t)(seconds * 1000) + 1;
}

static void take_input(struct talk *talk) {
    char piece[READ_BYTES];
    ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    const char *at = piece, *end = piece + (n > 0 ? n : 0);
    for (const char *line_end; (line_end = memchr(at, '\n', (size_t)(end - at))) != NULL;
         at = line_end + 1) {
        bytes_add(&talk->line, at, (size_t)(line_end - at));
        send_line(talk, bytes_at(&talk->line), talk->line.len);
        talk->line.len = 0;
    }
    bytes_add(&talk->line, at, (size_t)(end - at));
    if (talk->line.len > MOST_BYTES) {
        fprintf(stderr, "tidewire: talk: a line of more than %zu bytes\n", MOST_BYTES);
        talk->failed = true;
        begin_close(talk, CLOSE_NORMAL);
    } else if (n <= 0) {
        if (talk->line.len > 0)
            send_line(talk, bytes_at(&talk->line), talk->line.len);
        talk->input_over = true;
        wait_for_answers(talk);
    }
}

static void write_out(struct talk *talk) {
    while (talk->out.len > 0) {
        ssize_t n = client_socket_write(talk->server, bytes_at(&talk->out), talk->out.len);
        if (n <= 0)
            return; /* what is broken, reading tells */
        bytes_drop(&talk->out, (size_t)n);
    }
}

/* ---- what the server says ---- */

static void tell_close(unsigned code, const char *reason, size_t len) {
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
    bool is_ours = talk->close_sent;
    if (!frame_reader_close_valid(frame->payload, frame->len, &code, &reason, &len)) {
        fputs("closed by the server, with a Close frame that is none\n", stderr);
        talk->failed = true;
        begin_close(talk, CLOSE_PROTOCOL);
    } else if (!is_ours) {
        tell_close(code, reason, len);
        talk->failed |= code != CLOSE_NORMAL && code != CLOSE_GOING_AWAY && code != CLOSE_NO_STATUS;
        begin_close(talk, code == CLOSE_NO_STATUS ? 0 : code);
    } else if (talk->is_typed) {
        fprintf(stderr, "closed: %u\n", code);
    }
    talk->close_came = true;
    talk->deadline = clock_monotonic_ms() + 1000; /* for the server to end the connection */
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
        if (talk->is_typed && talk->is_shown)
            fputs("< ", stdout);
        talk_show_message(stdout, frame->payload, frame->len, kind == FRAME_BINARY, talk->is_shown);
        if (talk->input_over)
            wait_for_answers(talk);
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
        talk->close_came = true; /* nothing more can be read */
        return;
    case FRAME_PONG:
    case FRAME_MORE:
        return;
    }
}

static void take_bytes(struct talk *talk, char *bytes, size_t len) {
    struct frame_limits limits = {MOST_BYTES, 1u << 20};
    struct frame frame;
    while (!talk->close_came && len > 0) {
        enum frame_kind kind = frame_reader_next_cold(&talk->reader, &bytes, &len, &limits, &frame);
        if (kind == FRAME_MORE)
            break;
        on_frame(talk, kind, &frame);
    }
    if (fflush(stdout) != 0) /* nobody reads what comes any more */
        begin_close(talk, CLOSE_NORMAL);
}

static void on_end(struct talk *talk) {
    talk->is_over = true;
    if (talk->close_came)
        return;
    fputs("the connection was lost, without a Close frame (1006)\n", stderr);
    talk->failed = true;
}

static void take_server(struct talk *talk) {
    static char bytes[READ_BYTES];
    ssize_t n = client_socket_read(talk->server, bytes, sizeof bytes);
    if (n > 0)
        take_bytes(talk, bytes, (size_t)n);
    else if (n != CLIENT_SOCKET_LATER)
        on_end(talk);
}

/* ---- the loop ---- */

/* The time that something waits for is over. */
static void on_deadline(struct talk *talk) {
    if (!talk->close_sent && talk->out.len > 0) { /* the server is slow to read */
        wait_for_answers(talk);
        return;
    }
    if (!talk->close_sent) {
        begin_close(talk, CLOSE_NORMAL);
        return;
    }
    talk->is_over = true;
    if (talk->close_came)
        return;
    fputs("the server has not answered the Close frame\n", stderr);
    talk->failed = true;
}

/* Signals come only while it waits, so that none is overlooked. */
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

/* poll() of two; `ms` -1: for ever. */
static int wait_for(struct pollfd *fds, int ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    sigset_t none;
    sigemptyset(&none);
    return ppoll(fds, 2, ms < 0 ? NULL : &time, &none);
}

static void step(struct talk *talk) {
    bool takes_input = !talk->input_over && talk->out.len < MOST_WAITING;
    struct pollfd fds[2] = {
        {.fd = client_socket_fd(talk->server),
         .events = client_socket_events(talk->server, talk->out.len > 0)},
        {.fd = takes_input ? STDIN_FILENO : -1, .events = POLLIN},
    };
    uint64_t now = clock_monotonic_ms();
    int wait_ms = talk->deadline == 0     ? -1
                  : talk->deadline <= now ? 0
                                          : (int)(talk->deadline - now);
    if (client_socket_has_pending(talk->server))
        wait_ms = 0;
    int n = wait_for(fds, wait_ms);
    if (interrupted > 0 && !talk->close_sent)
        begin_close(talk, CLOSE_NORMAL);
    else if (interrupted > 1)
        talk->is_over = true;
    /* What comes goes first: a server closes a client that sends on and does not read. */
    if (n > 0 && fds[1].revents != 0 && !(fds[0].revents & POLLIN))
        take_input(talk);
    if (n > 0 && (fds[0].revents & POLLOUT))
        write_out(talk);
    if ((n > 0 && (fds[0].revents & (POLLIN | POLLHUP | POLLERR))) ||
        client_socket_has_pending(talk->server))
        take_server(talk);
    if (talk->out.len > 0 && !talk->is_over)
        write_out(talk);
    if (talk->deadline != 0 && clock_monotonic_ms() >= talk->deadline)
        on_deadline(talk);
}

static int run(struct talk *talk, const struct url *url) {
    struct bytes rest = {0};
    int code = talk_open(talk->settings, talk->server, url, &rest);
    if (code == EXIT_CLEAN) {
        catch_signals();
        talk->reader.from_server = true;
        take_bytes(talk, bytes_at(&rest), rest.len);
        while (!talk->is_over)
            step(talk);
        code = talk->failed ? EXIT_FAILED : EXIT_CLEAN;
    }
    mem_free(rest.data);
    return code;
}

int talk(const struct settings *settings) {
    struct url url;
    char error[512];
    signal(SIGPIPE, SIG_IGN);
    if (!url_parse(settings->target, &url, error, sizeof error)) {
        talk_complain(settings, error);
        url_close(&url);
        return EXIT_USAGE;
    }
    struct talk one = {
        .settings = settings,
        .is_typed = isatty(STDIN_FILENO) != 0,
        .is_shown = isatty(STDOUT_FILENO) != 0,
    };
    int code = EXIT_FAILED;
    one.server = client_socket_open(&url, settings->insecure, TALK_CONNECT_MS, error, sizeof error);
    if (one.server == NULL)
        talk_complain(settings, error);
    else
        code = run(&one, &url);
    client_socket_close(one.server);
    frame_reader_reset(&one.reader);
    mem_free(one.out.data);
    mem_free(one.line.data);
    url_close(&url);
    return code;
}
