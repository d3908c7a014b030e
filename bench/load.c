/* load.c -- a load generator that reads the server's CPU time and memory: the command line.
 *
 *   load echo   --port N --pid PID [--connections N] [--size BYTES] [--depth N] [--seconds S]
 *   load idle   --port N --pid PID [--connections N]
 *   load bcast  --port N --pid PID [--connections N] [--size BYTES] [--depth N] [--seconds S]
 *   load slow   --port N --pid PID [--connections N] [--slow N] [--sip BYTES] [--size BYTES]
 *               [--rate N] [--seconds S] [--path PATH]
 *   load unread --port N --pid PID [--connections N] [--size BYTES]
 *
 * echo: every connection sends `depth` text messages at a time, waits for all their echoes, and
 * begins again. Result: the server's CPU time per message, as the kernel counts it for all threads
 * of PID, after a short warm-up. idle: opens the connections and reads the growth of the server's
 * resident memory; then each connection sends one message, and load reads it again. The others need
 * a server that broadcasts each message to all clients (bench/bcast.lua). bcast: one connection
 * sends `depth` messages at a time; when all connections have all of them it begins again. Result:
 * the server's CPU time per delivery. slow: sends `rate` messages a second; `slow` of the
 * connections do not read, or, with `sip`, read so many bytes 20 times a second. Result: the delay
 * of messages to the others, and the growth of the server's memory. unread: one message to all, of
 * which only the sender reads. Result: the growth of the server's memory.
 *
 * Prints one line of name=value pairs. One thread; connects to 127.0.0.1 only; every byte that
 * comes back is compared with what was sent. Knows nothing of the server but its process id.
 *
 * This file has the command line; meter.c reads the server's CPU time and memory, clients.c has the
 * connections, echoes.c and broadcasts.c the measurements. */
#include "load.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_CONNECTIONS = 25000,
    MAX_SIZE = 16 * 1024 * 1024,
    MAX_DEPTH = 1024,
};

struct options options = {
    .path = "/",
    .connections = 100,
    .size = 20,
    .depth = 1,
    .seconds = 2,
    .rate = 100,
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
    struct timespec second = {.tv_sec = 1};
    nanosleep(&second, NULL);
}

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
                                          {"path", required_argument, NULL, 'u'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"size", required_argument, NULL, 's'},
                                          {"depth", required_argument, NULL, 'd'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {"slow", required_argument, NULL, 'k'},
                                          {"sip", required_argument, NULL, 'i'},
                                          {"rate", required_argument, NULL, 'r'},
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
            options.seconds = number(name, optarg, 0.1, 600);
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
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*measure)(void);
    } kinds[] = {{"echo", measure_echo},
                 {"idle", measure_idle},
                 {"bcast", measure_bcast},
                 {"slow", measure_slow},
                 {"unread", measure_unread}};
    read_options(argc, argv);
    const char *what = optind == argc - 1 ? argv[optind] : "";
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(what, kinds[i].name) == 0 && options.port != 0 && options.pid != 0) {
            kinds[i].measure();
            return 0;
        }
    }
    fputs("usage: load echo|idle|bcast|slow|unread --port N --pid PID [--path PATH]\n"
          "            [--connections N] [--size BYTES] [--depth N] [--seconds S]\n"
          "            [--slow N] [--sip BYTES] [--rate N]\n",
          stderr);
    return 2;
}
