/* load.h -- what the files of the load generator share. See load.c. */
#ifndef TIDEWIRE_BENCH_LOAD_H
#define TIDEWIRE_BENCH_LOAD_H

#include <stdbool.h>
#include <time.h>

struct options {
    int port;
    int pid;
    const char *path;
    int connections;
    int size;
    int depth;
    double seconds;
    int slow;
    int sip;
    double rate;
    int texts;
    bool json;
    bool tls;
    double churn;
    int rounds;
    double warm_up;
    double settle;
};

/* As the command line has them. */
extern struct options options;

/* Ends the program with a line on stderr. */
__attribute__((format(printf, 1, 2), noreturn)) void fail(const char *format, ...);

static inline double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* options.settle seconds, in which the server comes to rest. */
void settle(void);

enum { PATIENCE_SECONDS = 60 };

/* The measurements: each opens its connections, and prints one line. */
void measure_echo(void); /* echoes.c */
void measure_idle(void);
void measure_bcast(void); /* broadcasts.c */
void measure_slow(void);
void measure_unread(void);
void measure_close(void); /* closes.c */

#endif
