/* log_writer.c -- the threads that wait for the readers of the log and of the standard output. See
 * log_writer.h. */
#include "server/log_writer.h"

#include "base/log/log.h"
#include "base/log/log_queue.h"
#include "server/workers/thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* How long the thread sleeps when its queue is empty, and when the log has a line of counts to
 * write within a second. */
enum { IDLE_MS = 3600 * 1000, TICK_MS = 1000 };

static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
enum { FATAL_COUNT = sizeof fatal / sizeof fatal[0] };

static struct sigaction before[FATAL_COUNT];
/* One for the log, one for the standard output: a thread that waits for one reader must not hold
 * back the lines of the other. */
static struct {
    uv_thread_t thread;
    bool runs;
} writers[2];
static bool gave_up; /* the log was not read in time */

static struct log_queue *queue_of(int number) {
    return number == 0 ? log_queue_log : log_queue_output;
}

static void run(void *argument) {
    struct log_queue *queue = argument;
    unsigned ms = IDLE_MS;
    while (log_queue_serve(queue, ms))
        ms = queue == log_queue_log && log_tick() ? TICK_MS : IDLE_MS;
}

/* Writes the queues, and restores the signal's action: the end of the process, with a core dump and
 * a sanitizer's report. */
static void on_fatal(int number, siginfo_t *info, void *context) {
    (void)context;
    log_queue_salvage(log_queue_log);
    log_queue_salvage(log_queue_output);
    for (int i = 0; i < FATAL_COUNT; i++)
        if (fatal[i] == number)
            sigaction(number, &before[i], NULL);
    bool is_fault = info->si_code > 0; /* the instruction runs again, and fails again */
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

/* A log file that has reached the size limit (ulimit -f) cannot be written; the process goes on.
 * Child processes have the signal's default. */
static void on_file_too_large(int number) {
    (void)number;
}

static void on_exit_called(void) {
    if (!gave_up)
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
    gave_up = !log_flush();
    for (int i = 0; i < 2; i++) {
        if (!writers[i].runs)
            continue;
        writers[i].runs = false;
        log_queue_stop(queue_of(i));
        if (gave_up)
            pthread_detach(
                writers[i].thread); /* it may wait for a reader; it ends with the process */
        else
            uv_thread_join(&writers[i].thread);
    }
}
