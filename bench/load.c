/* load.c -- a load generator that reads what the server spent.
 *
 *   load echo --port N --pid PID [--connections N] [--size BYTES] [--depth N] [--seconds S]
 *   load idle --port N --pid PID [--connections N]
 *
 * echo: every connection sends `depth` text messages in one go, waits for all their echoes, and
 * begins again. What is reported is the server's own CPU time per message, as the kernel counts it
 * for all threads of PID, after a short warm-up.
 * idle: opens the connections and reads how much the server's resident memory grew by; then each
 * sends one message, and it is read again.
 *
 * Prints one line of name=value pairs. One thread; connects to 127.0.0.1 only; every byte that comes
 * back is compared with what was sent. Knows nothing of the server but its process id. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 256 * 1024,
    EVENTS = 512,
    MAX_SIZE = 65535, /* what a 16-bit length can say */
    MAX_DEPTH = 1024,
    MASK_BYTES = 4,
    MAX_HEADER = 8, /* two bytes, a 16-bit length, a mask */
    PATIENCE_SECONDS = 60,
};

static const double WARM_UP_SECONDS = 0.5;

struct options {
    bool idle;
    int port;
    int pid;
    int connections;
    int size;
    int depth;
    double seconds;
};

/* What one turn of a connection sends, and the answer to each of its messages. */
struct script {
    uint8_t *request;
    size_t request_size;
    uint8_t *echo;
    size_t echo_size;
};

struct client {
    int fd;
    size_t sent; /* bytes of the request in this turn */
    size_t seen; /* bytes of the echo that is coming in */
    int to_come; /* echoes of this turn */
};

static struct options options = {.connections = 100, .size = 20, .depth = 1, .seconds = 2};
static struct script script;
static struct client *clients;
static int epoll_fd;

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* --- what the server spent ----------------------------------------------------------------- */

/* Nanoseconds on a CPU, of all threads of the server that live. */
static uint64_t server_cpu_ns(void) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", options.pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        fail("there is no process %d", options.pid);
    uint64_t sum = 0;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", options.pid, task->d_name);
        FILE *file = fopen(path, "r");
        unsigned long long ns = 0;
        if (file == NULL || fscanf(file, "%llu", &ns) != 1)
            fail("%s cannot be read", path);
        fclose(file);
        sum += ns;
    }
    closedir(tasks);
    return sum;
}

static long server_memory_bytes(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", options.pid);
    FILE *file = fopen(path, "r");
    long pages = 0;
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
        fail("%s cannot be read", path);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* --- frames -------------------------------------------------------------------------------- */

static size_t put_header(uint8_t *at, bool masked) {
    size_t used = 0;
    at[used++] = 0x81; /* text, whole */
    if (options.size < 126) {
        at[used++] = (uint8_t)options.size;
    } else {
        at[used++] = 126;
        at[used++] = (uint8_t)(options.size >> 8);
        at[used++] = (uint8_t)options.size;
    }
    if (masked)
        at[1] |= 0x80;
    return used;
}

static void write_script(int depth) {
    static const uint8_t mask[MASK_BYTES] = {0x5a, 0xc3, 0x17, 0x8e};
    size_t size = (size_t)options.size;
    script.echo = malloc(size + MAX_HEADER);
    script.request = malloc((size + MAX_HEADER) * (size_t)depth);
    if (script.echo == NULL || script.request == NULL)
        fail("no memory");

    script.echo_size = put_header(script.echo, false);
    for (size_t i = 0; i < size; i++)
        script.echo[script.echo_size++] = (uint8_t)('a' + i % 26);

    const uint8_t *payload = script.echo + script.echo_size - size;
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

/* --- connections --------------------------------------------------------------------------- */

/* The example of RFC 6455, section 1.3: a key and the answer that it must get. */
static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/* Reads the head of the answer, which nothing follows: the server speaks when spoken to. */
static void shake_hands(int fd) {
    char answer[4096];
    size_t size = 0;
    if (send(fd, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) != sizeof REQUEST - 1)
        fail("the request could not be sent: %s", strerror(errno));
    do {
        ssize_t got = recv(fd, answer + size, sizeof answer - 1 - size, 0);
        if (got <= 0)
            fail("the server ended a handshake: %s", got == 0 ? "closed" : strerror(errno));
        size += (size_t)got;
        answer[size] = '\0';
    } while (strstr(answer, "\r\n\r\n") == NULL && size < sizeof answer - 1);
    if (strstr(answer, ACCEPT) == NULL)
        fail("the server refused a connection: %.*s", (int)strcspn(answer, "\r\n"), answer);
}

static void open_clients(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if ((rlim_t)options.connections + 16 > files.rlim_max)
        fail("%d connections need more open files than the %llu that are allowed (ulimit -n)",
             options.connections, (unsigned long long)files.rlim_max);

    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    int one = 1;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc((size_t)options.connections, sizeof *clients);
    if (clients == NULL)
        fail("no memory");
    for (int i = 0; i < options.connections; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
            connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
            fail("connection %d to port %d: %s", i + 1, options.port, strerror(errno));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        shake_hands(fd);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        clients[i].fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

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

static void begin_turn(struct client *client, int depth) {
    client->sent = 0;
    client->to_come = depth;
    send_rest(client);
}

/* Takes what came in; how many echoes it completed. */
static int receive(struct client *client) {
    static uint8_t buffer[READ_BYTES];
    ssize_t got = recv(client->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        fail("the server ended a connection: %s", got == 0 ? "closed" : strerror(errno));
    int whole = 0;
    for (size_t at = 0; at < (size_t)got;) {
        size_t part = script.echo_size - client->seen;
        if (part > (size_t)got - at)
            part = (size_t)got - at;
        if (memcmp(buffer + at, script.echo + client->seen, part) != 0)
            fail("an answer is not the echo of what was sent");
        at += part;
        client->seen += part;
        if (client->seen == script.echo_size) {
            client->seen = 0;
            whole++;
        }
    }
    if (whole > client->to_come)
        fail("more answers than messages");
    client->to_come -= whole;
    return whole;
}

/* Serves the connections for a moment; how many echoes came. With `again`, a connection that has
 * all its echoes begins its next turn. */
static int serve(bool again) {
    static struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll_fd, events, EVENTS, 100);
    int whole = 0;
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            send_rest(client);
        if ((events[i].events & ~(uint32_t)EPOLLOUT) == 0)
            continue;
        whole += receive(client);
        if (again && client->to_come == 0)
            begin_turn(client, options.depth);
    }
    return whole;
}

/* --- the two measurements ------------------------------------------------------------------ */

static void measure_echo(void) {
    write_script(options.depth);
    open_clients();
    for (int i = 0; i < options.connections; i++)
        begin_turn(&clients[i], options.depth);
    for (double end = now() + WARM_UP_SECONDS; now() < end;)
        serve(true);

    uint64_t messages = 0, cpu_ns = server_cpu_ns();
    double begun = now(), took;
    while ((took = now() - begun) < options.seconds)
        messages += (uint64_t)serve(true);
    cpu_ns = server_cpu_ns() - cpu_ns;
    if (messages == 0)
        fail("no message was answered in %.1f seconds", options.seconds);
    printf("messages=%llu per_second=%.0f cpu_us=%.4f cpu_percent=%.1f\n",
           (unsigned long long)messages, (double)messages / took,
           (double)cpu_ns / 1e3 / (double)messages, (double)cpu_ns / 1e7 / took);
}

static void settle(void) {
    struct timespec second = {.tv_sec = 1};
    nanosleep(&second, NULL);
}

static void measure_idle(void) {
    write_script(1);
    long before = server_memory_bytes();
    open_clients();
    settle();
    long opened = server_memory_bytes();

    for (int i = 0; i < options.connections; i++)
        begin_turn(&clients[i], 1);
    double deadline = now() + PATIENCE_SECONDS;
    for (int left = options.connections; left > 0; left -= serve(false)) {
        if (now() > deadline)
            fail("%d messages were not answered in %d seconds", left, PATIENCE_SECONDS);
    }
    settle();
    long used = server_memory_bytes();
    printf("connections=%d before_bytes=%ld open_bytes=%.0f used_bytes=%.0f\n", options.connections,
           before, (double)(opened - before) / options.connections,
           (double)(used - before) / options.connections);
}

/* --- the command --------------------------------------------------------------------------- */

static double number(const char *name, const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most))
        fail("--%s wants a number from %g to %g, not '%s'", name, least, most, text);
    return value;
}

static void read_options(int argc, char **argv) {
    static const struct option names[] = {{"port", required_argument, NULL, 'p'},
                                          {"pid", required_argument, NULL, 'P'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"size", required_argument, NULL, 's'},
                                          {"depth", required_argument, NULL, 'd'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {NULL, 0, NULL, 0}};
    int letter, index = 0;
    while ((letter = getopt_long(argc, argv, "", names, &index)) != -1) {
        const char *name = names[index].name;
        switch (letter) {
        case 'p':
            options.port = (int)number(name, optarg, 1, 65535);
            break;
        case 'P':
            options.pid = (int)number(name, optarg, 1, 1e9);
            break;
        case 'c':
            options.connections = (int)number(name, optarg, 1, 25000);
            break;
        case 's':
            options.size = (int)number(name, optarg, 1, MAX_SIZE);
            break;
        case 'd':
            options.depth = (int)number(name, optarg, 1, MAX_DEPTH);
            break;
        case 't':
            options.seconds = number(name, optarg, 0.1, 600);
            break;
        default:
            exit(2);
        }
    }
    const char *what = optind == argc - 1 ? argv[optind] : "";
    options.idle = strcmp(what, "idle") == 0;
    if ((!options.idle && strcmp(what, "echo") != 0) || options.port == 0 || options.pid == 0) {
        fputs("usage: load echo|idle --port N --pid PID [--connections N] [--size BYTES]\n"
              "            [--depth N] [--seconds S]\n",
              stderr);
        exit(2);
    }
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    if (options.idle)
        measure_idle();
    else
        measure_echo();
    return 0;
}
