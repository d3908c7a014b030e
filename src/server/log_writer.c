/* log_writer.c -- the threads that wait for whoever reads the log, and what scripts print.
 * See log_writer.h. */
#include "server/log_writer.h"

#include "base/log/log.h"
#include "base/log/log_queue.h"
#include "server/workers/thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* How long the thread sleeps when it has nothing to do, and when it has to tell of something in a
 * second. */
enum { IDLE_MS = 3600 * 1000, TICK_MS = 1000 };

static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
enum { FATAL_COUNT = sizeof fatal / sizeof fatal[0] };

static struct sigaction before[FATAL_COUNT];
/* One for the log, one for what scripts print: who waits for one reader must not keep the other's
 * lines. */
static struct {
    uv_thread_t thread;
    bool runs;
} writers[2];
static bool given_up;

static struct log_queue *queue_of(int number) {
    return number == 0 ? log_queue_log : log_queue_output;
}

static void run(void *argument) {
    struct log_queue *queue = argument;
    unsigned ms = IDLE_MS;
    while (log_queue_serve(queue, ms))
        ms = queue == log_queue_log && log_tick() ? TICK_MS : IDLE_MS;
}

/* Writes what waits, and lets the signal do what it would have done: end the process, with its core
 * and a sanitizer's report. */
static void on_fatal(int number, siginfo_t *info, void *context) {
    (void)context;
    log_queue_salvage(log_queue_log);
    log_queue_salvage(log_queue_output);
    for (int i = 0; i < FATAL_COUNT; i++)
        if (fatal[i] == number)
            sigaction(number, &before[i], NULL);
    bool is_fault = info->si_code > 0; /* of an instruction, which is run again and fails again */
    if (!is_fault)
        raise(number);
}

static void catch_fatal_signals(void) {
    for (int i = 0; i < FATAL_COUNT; i++) {
        struct sigaction action = {.sa_sigaction = on_fatal,
                                   .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
        sigemptyset(&action.sa_mask);
        sigaction(fatal[i], &action, &before[i]);
    }
}

/* A log that has reached the largest size of a file (ulimit -f) is one that cannot be written, not
 * the end. Children have the signal's default. */
static void on_file_too_large(int number) {
    (void)number;
}

static void on_exit_called(void) {
    if (!given_up)
        log_flush();
}

bool log_writer_open(const struct settings *settings) {
    log_set_level(settings->log_level);
    log_set_format(settings->log_format);
    if (settings->log_file == NULL) {
        log_open_stderr();
        return true;
    }
    int result = log_open(settings->log_file);
    if (result != 0)
        fprintf(stderr, "tidewire: cannot open the log file %s: %s\n", settings->log_file,
                strerror(-result));
    return result == 0;
}

void log_writer_reopen(void) {
    int result = log_reopen();
    if (result != 0)
        log_event(LOG_ERROR, "log_reopen_failed", strerror(-result));
    else
        log_event(LOG_INFO, "log_reopened", "SIGUSR1");
}

void log_writer_start(void) {
    log_open_output();
    for (int i = 0; i < 2; i++) {
        struct log_queue *queue = queue_of(i);
        log_queue_set_served(queue, true);
        writers[i].runs = thread_start(&writers[i].thread, run, queue) == 0;
        if (!writers[i].runs)
            log_queue_set_served(queue, false);
    }
    atexit(on_exit_called);
    signal(SIGXFSZ, on_file_too_large);
    catch_fatal_signals();
}

void log_writer_stop(void) {
    given_up = !log_flush();
    for (int i = 0; i < 2; i++) {
        if (!writers[i].runs)
            continue;
        writers[i].runs = false;
        log_queue_stop(queue_of(i));
        if (given_up)
            pthread_detach(
                writers[i].thread); /* it may wait for a reader, and ends with the process */
        else
            uv_thread_join(&writers[i].thread);
    }
}
