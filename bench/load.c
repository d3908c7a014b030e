/* load.c -- a load generator that reads the server's CPU time and memory: the command line.
 *
 *   load KIND --port N --pid PID [--path PATH] [--connections N] [--size BYTES] [--texts N]
 * [--json]
 *             [--tls] [--seconds S] [--warm-up S] [--settle S]   and, where KIND has them in
 * brackets:
 *
 *   echo [--depth N] [--rounds N]               CPU time per message
 *   idle                                        memory per connection
 *   close [--rate N]                            CPU time per closed connection, latency meanwhile
 *   bcast [--depth N] [--rounds N] [--churn P]  CPU time per delivery
 *   slow [--slow N] [--sip BYTES] [--rate N]    latency where some connections do not read; memory
 *   unread                                      memory of a message that waits for all
 *
 * echo, idle and close need a server that answers each message with the same, the others one that
 * sends each message to all clients (bench/bcast.lua).
 *
 * echo: every connection sends `depth` text messages at a time, waits for all their answers, and
 * begins again. Result: the server's CPU time per message, as the kernel counts it for all threads
 * of PID, after the warm-up. bcast: one connection sends `depth` messages at a time; when all
 * connections have all of them it begins again. Result: the server's CPU time per delivery. With
 * `churn`, so many percent of the connections a second leave, one after the other, and new ones
 * come in their place. With `rounds`, echo and bcast send so often and measure nothing.
 *
 * idle: opens the connections and reads the growth of the server's resident memory; then each
 * connection sends one message, and load reads it again. The growth begins after the first
 * 256 connections: these touch code and heap that the process needs once. `all_bytes` includes
 * them. close: all connections but the first end
 * by a reset, as fast as one thread can do it; the first sends `rate` messages a second meanwhile.
 * Result: the server's CPU time, the echoes' included, per closed connection, and the latencies of
 * the echoes until the server has closed its last socket. slow: sends `rate` messages a second;
 * `slow` of the connections do not read, or, with `sip`, read so many bytes 20 times a second.
 * Result: the delay of messages to the others, and the growth of the server's memory. unread: one
 * message to all, of which only the sender reads. Result: the growth of the server's memory.
 *
 * There are `texts` different messages of `size` bytes; with `json` they are objects of ten fields,
 * some 230 bytes, which come back in any order of the fields and with any digit for "count".
 * `settle` is the time in which the server comes to rest before its memory is read.
 *
 * Prints one line of name=value pairs. One thread; connects to 127.0.0.1 only, from 127.0.0.1 and,
 * for more than 10,000 connections, the addresses behind it; every byte that comes back is
 * compared. Exit code 1: something failed, as stderr says; 2: the command line is wrong. Knows
 * nothing of the server but its process id.
 *
 * This file has the command line; meter.c reads what the server has spent, messages.c has the
 * messages, transport.c and clients.c the connections, echoes.c, closes.c and broadcasts.c the
 * measurements. */
#include "load.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_CONNECTIONS = 100000,
    MAX_SIZE = 16 * 1024 * 1024,
    MAX_DEPTH = 1024,
    MAX_TEXTS = 1000000,
    MAX_ROUNDS = 1000000,
};

struct options options = {
    .path = "/",
    .connections = 100,
    .size = 20,
    .depth = 1,
    .seconds = 2,
    .rate = 100,
    .texts = 1,
    .warm_up = 0.5,
    .settle = 1,
};

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void settle(void) {
    double seconds = options.settle;
    struct timespec time = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

static double number(const char *name, const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most))
        fail("--%s wants a number from %g to %g, not '%s'", name, least, most, text);
    return value;
}

static void read_options(int argc, char **argv) {
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},    {"pid", required_argument, NULL, 'P'},
        {"path", required_argument, NULL, 'u'},    {"connections", required_argument, NULL, 'c'},
        {"size", required_argument, NULL, 's'},    {"depth", required_argument, NULL, 'd'},
        {"seconds", required_argument, NULL, 't'}, {"slow", required_argument, NULL, 'k'},
        {"sip", required_argument, NULL, 'i'},     {"rate", required_argument, NULL, 'r'},
        {"texts", required_argument, NULL, 'n'},   {"json", no_argument, NULL, 'j'},
        {"tls", no_argument, NULL, 'T'},           {"churn", required_argument, NULL, 'C'},
        {"rounds", required_argument, NULL, 'o'},  {"warm-up", required_argument, NULL, 'w'},
        {"settle", required_argument, NULL, 'e'},  {NULL, 0, NULL, 0}};
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
        case 'u':
            options.path = optarg;
            break;
        case 'c':
            options.connections = (int)number(name, optarg, 1, MAX_CONNECTIONS);
            break;
        case 's':
            options.size = (int)number(name, optarg, 1, MAX_SIZE);
            break;
        case 'd':
            options.depth = (int)number(name, optarg, 1, MAX_DEPTH);
            break;
        case 't':
            options.seconds = number(name, optarg, 0.01, 600);
            break;
        case 'k':
            options.slow = (int)number(name, optarg, 0, MAX_CONNECTIONS);
            break;
        case 'i':
            options.sip = (int)number(name, optarg, 0, 65536);
            break;
        case 'r':
            options.rate = number(name, optarg, 1, 10000);
            break;
        case 'n':
            options.texts = (int)number(name, optarg, 1, MAX_TEXTS);
            break;
        case 'j':
            options.json = true;
            break;
        case 'T':
            options.tls = true;
            break;
        case 'C':
            options.churn = number(name, optarg, 0, 100);
            break;
        case 'o':
            options.rounds = (int)number(name, optarg, 1, MAX_ROUNDS);
            break;
        case 'w':
            options.warm_up = number(name, optarg, 0, 600);
            break;
        case 'e':
            options.settle = number(name, optarg, 0, 600);
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*measure)(void);
    } kinds[] = {{"echo", measure_echo},   {"idle", measure_idle}, {"close", measure_close},
                 {"bcast", measure_bcast}, {"slow", measure_slow}, {"unread", measure_unread}};
    signal(SIGPIPE, SIG_IGN);
    read_options(argc, argv);
    const char *what = optind == argc - 1 ? argv[optind] : "";
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(what, kinds[i].name) == 0 && options.port != 0 && options.pid != 0) {
            kinds[i].measure();
            return 0;
        }
    }
    fputs("usage: load echo|idle|close|bcast|slow|unread --port N --pid PID [--path PATH]\n"
          "            [--connections N] [--size BYTES] [--texts N] [--json] [--tls]\n"
          "            [--depth N] [--rounds N] [--churn PERCENT] [--rate N] [--slow N]\n"
          "            [--sip BYTES] [--seconds S] [--warm-up S] [--settle S]\n",
          stderr);
    return 2;
}
