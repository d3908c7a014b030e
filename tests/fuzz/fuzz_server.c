/* fuzz_server.c -- the whole server on one thread: arbitrary bytes on several connections.
 *
 * A worker with the app fuzz_server.lua listens on a Unix socket. An input is a list of steps. Each
 * begins with a byte: its before two bits choose one of four clients, the rest what it does (enum
 * step). Afterwards all clients leave, and nothing of them may be left in the server: connections,
 * requests, descriptors; a good client must still get its answer, and the log must have no error.
 */
#include "fuzz.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "script/vm/app.h"
#include "script/vm/settings.h"
#include "server/resources.h"
#include "server/workers/worker.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 4, SIZE_MAX_OF_STEP = 255, TURNS_MAX = 5000 };

enum step {
    STEP_BYTES,     /* sends bytes: their number, the bytes */
    STEP_FRAME,     /* sends a masked frame: its first byte, its length, the payload */
    STEP_HANDSHAKE, /* sends a valid handshake: the number of its path, of its extra header */
    STEP_REQUEST,   /* sends a valid request: its number */
    STEP_TURN,      /* lets the server run, and reads what it sends */
    STEP_RUN,       /* the same without reading: the client is slow */
    STEP_SHUTDOWN,  /* ends its direction */
    STEP_CLOSE,     /* closes its socket */
    STEPS
};

static struct process process;
static struct worker *worker;
static struct settings settings;
static struct listen_set *set;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char folder[] = "/tmp/tidewire-fuzz-XXXXXX", log_file[64];
static int clients[CLIENTS];
static enum worker_stage stage;

/* ---- the server ---- */

static void on_stage(void *user, enum worker_stage now) {
    stage = now;
}

static void turn(void) {
    uv_run(worker_loop(worker), UV_RUN_NOWAIT);
}

static void check_log(void) {
    struct stat info;
    log_flush();
    if (stat(log_file, &info) == 0 && info.st_size == 0)
        return;
    char line[4096] = "";
    FILE *file = fopen(log_file, "r");
    fprintf(stderr, "the log:\n");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        fputs(line, stderr);
    abort();
}

static void stop(void) {
    struct worker_drain_options options = {0};
    worker_drain(worker, &options);
    for (int i = 0; i < TURNS_MAX && stage < STAGE_ON_STOP_DONE; i++)
        turn();
    worker_close_clients(worker, &options);
    for (int i = 0; i < TURNS_MAX && stage < STAGE_DRAINED; i++)
        turn();
    worker_close(worker);
    fuzz_check(worker_finish(worker));
    fuzz_check(worker_free(worker));
    listen_close(set);
    process_close(&process);
    settings_close(&settings);
    check_log();
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        perror(command);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    fuzz_no_leak_check(argc, argv);
    process_set_signals();
    fuzz_check(mkdtemp(folder) != NULL);
    snprintf(log_file, sizeof log_file, "%s/log", folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    log_set_level(LOG_ERROR);
    fuzz_check(log_open(log_file) == 0);
    char listen[128];
    snprintf(listen, sizeof listen, "unix:%s", address.sun_path);
    char program[] = "tidewire", app[] = "tests/fuzz/fuzz_server.lua", option[] = "--listen";
    char *words[] = {program, app, option, listen, NULL};
    setenv("TIDEWIRE_HANDLER_TIMEOUT", "60", 1);
    fuzz_check(settings_read(&settings, 4, words));
    process_init(&process);
    bus_set_workers(process.bus, 1);
    worker = worker_new(0, &process, &(struct worker_events){.on_stage = on_stage});
    fuzz_check(worker != NULL && worker_load(worker, settings.target, &settings));
    process_set_limits(&process, worker_app(worker));
    char error[256];
    set = listen_open(listen, &(struct listen_options){.workers = 1}, error, sizeof error);
    fuzz_check(set != NULL);
    worker_listen(worker, &set, 1);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = -1;
    atexit(stop);
    return 0;
}

/* ---- clients ---- */

/* The descriptor of a client, which connects when it has none. */
static int fd_of(unsigned client) {
    if (clients[client] >= 0)
        return clients[client];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    fuzz_check(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return clients[client] = fd;
}

/* The server may have closed the socket, or not read what came before: bytes are lost then. */
static void send_bytes(unsigned client, const void *bytes, size_t len) {
    if (send(fd_of(client), bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
}

static void close_client(unsigned client) {
    if (clients[client] >= 0)
        close(clients[client]);
    clients[client] = -1;
}

/* Reads what is there. Returns the number of bytes; `bytes` gets the last ones. */
static size_t read_some(unsigned client, char *bytes, size_t size) {
    size_t len = 0;
    ssize_t n;
    while (clients[client] >= 0 && (n = recv(clients[client], bytes, size, MSG_DONTWAIT)) > 0)
        len = (size_t)n;
    return len;
}

static void send_frame(unsigned client, struct fuzz_input *input) {
    unsigned char frame[8 + SIZE_MAX_OF_STEP] = {(unsigned char)fuzz_byte(input)};
    size_t len = fuzz_byte(input), header = 2;
    if (len > input->left)
        len = input->left;
    frame[1] = (unsigned char)(0x80 | (len < 126 ? len : 126));
    if (len >= 126) {
        frame[2] = (unsigned char)(len >> 8);
        frame[3] = (unsigned char)len;
        header = 4;
    }
    header += 4; /* a mask of zeros */
    memcpy(frame + header, input->at, len);
    input->at += len;
    input->left -= len;
    send_bytes(client, frame, header + len);
}

static void send_handshake(unsigned client, struct fuzz_input *input) {
    static const char *const paths[] = {"/echo",   "/binary",    "/json",         "/custom",
                                        "/sleep",  "/heartbeat", "/room/a?x=%31", "/room/a",
                                        "/room/b", "/close",     "/nowhere"};
    static const char *const extras[] = {
        "",
        "Sec-WebSocket-Protocol: json, chat\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
        "Origin: http://example.org\r\nCookie: a=b; refuse=1\r\n",
        "Sec-WebSocket-Protocol: no\r\n",
    };
    char text[1024];
    size_t path = fuzz_below(input, sizeof paths / sizeof *paths);
    size_t extra = fuzz_below(input, sizeof extras / sizeof *extras);
    int len = snprintf(text, sizeof text,
                       "GET %s HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                       paths[path], extras[extra]);
    send_bytes(client, text, (size_t)len);
}

static void send_request(unsigned client, struct fuzz_input *input) {
    static const char *const requests[] = {
        "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /files/object HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /files/object HTTP/1.1\r\nHost: x\r\nRange: bytes=2-9\r\nAccept-Encoding: "
        "gzip\r\n\r\n",
        "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
        "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
        "GET /later HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
        "GET /any/a/b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "DELETE /any/%C3%A4?a=b HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    };
    const char *request = requests[fuzz_below(input, sizeof requests / sizeof *requests)];
    send_bytes(client, request, strlen(request));
}

static void run_step(struct fuzz_input *input) {
    unsigned step = fuzz_byte(input), client = step & 3;
    char bytes[4096];
    switch ((enum step)((step >> 2) % STEPS)) {
    case STEP_BYTES: {
        size_t len = fuzz_byte(input);
        if (len > input->left)
            len = input->left;
        send_bytes(client, input->at, len);
        input->at += len;
        input->left -= len;
        break;
    }
    case STEP_FRAME:
        send_frame(client, input);
        break;
    case STEP_HANDSHAKE:
        send_handshake(client, input);
        break;
    case STEP_REQUEST:
        send_request(client, input);
        break;
    case STEP_TURN:
        turn();
        read_some(client, bytes, sizeof bytes);
        break;
    case STEP_SHUTDOWN:
        shutdown(fd_of(client), SHUT_WR);
        break;
    case STEP_CLOSE:
        close_client(client);
        break;
    case STEP_RUN:
    case STEPS:
        turn();
        break;
    }
}

/* ---- what must hold ---- */

/* A client with a good request gets its answer. */
static void check_alive(void) {
    static const char request[] = "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    static const char answer[] = "HTTP/1.1 200 OK\r\n";
    char bytes[4096] = "";
    size_t len = 0;
    send_bytes(0, request, sizeof request - 1);
    for (int i = 0; i < TURNS_MAX && len == 0; i++) {
        turn();
        len = read_some(0, bytes, sizeof bytes);
    }
    fuzz_check(len >= sizeof answer - 1 && memcmp(bytes, answer, sizeof answer - 1) == 0);
    close_client(0);
}

/* Open sockets and files. libFuzzer has pipes of its own. */
static int count_fds(void) {
    int count = 0;
    struct stat info;
    for (int fd = 0; fd < 64; fd++)
        count += fstat(fd, &info) == 0 && (S_ISSOCK(info.st_mode) || S_ISREG(info.st_mode));
    return count;
}

/* All units of the limits are back, and all descriptors are closed. */
static bool is_idle(int before) {
    return limit_taken(&process.admission.connections) == 0 &&
           limit_taken(&process.admission.refusals) == 0 && count_fds() == before;
}

static void await_idle(int before) {
    for (int i = 0; i < TURNS_MAX && !is_idle(before); i++) {
        turn();
        if (i > 100) /* a rate may pause a client for some milliseconds */
            usleep(1000);
    }
    fuzz_check(is_idle(before));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int before;
    struct fuzz_input input = {data, size};
    if (before == 0)
        before = count_fds();
    while (input.left > 0)
        run_step(&input);
    for (unsigned i = 0; i < CLIENTS; i++)
        close_client(i);
    await_idle(before);
    check_alive();
    await_idle(before);
    check_log();
    return 0;
}
