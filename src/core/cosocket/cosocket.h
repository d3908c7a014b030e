/* cosocket.h -- stream sockets that scripts open to other servers, between scripts and the loop.
 *
 * A cosocket is a TCP or Unix socket on which tasks wait instead of blocking. net/cosocket fills
 * `struct cosocket_functions`, which the worker passes to script/; scripts know a cosocket by its
 * number, which no other one gets. Everything happens on the worker's thread. Nothing here blocks,
 * and nothing here calls Lua. */
#ifndef TIDEWIRE_CORE_COSOCKET_COSOCKET_H
#define TIDEWIRE_CORE_COSOCKET_COSOCKET_H

#include "base/slice.h"
#include "core/http/tls_options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What most functions return: one of these, or a positive errno. */
enum {
    COSOCKET_DONE = 0,
    COSOCKET_AGAIN = -1,      /* not yet: wait for this side, and call again */
    COSOCKET_CLOSED = -2,     /* by the peer, or by the script */
    COSOCKET_LIMIT = -3,      /* limits.outgoing_sockets is reached */
    COSOCKET_BUSY = -5,       /* see `keep` */
    COSOCKET_TLS_FAILED = -4, /* see `why` */
};

/* The two directions; a task may wait for each. */
enum cosocket_side { COSOCKET_IN, COSOCKET_OUT };
enum { COSOCKET_SIDES = 2 };

enum cosocket_family { COSOCKET_UNSPEC, COSOCKET_INET, COSOCKET_INET6, COSOCKET_UNIX };

/* A cosocket keeps so many received bytes; behind them it stops reading. */
enum { COSOCKET_BUFFER_BYTES = 64 * 1024 };

/* An address in numbers. Borrowed. */
struct cosocket_address {
    enum cosocket_family family; /* not COSOCKET_UNSPEC */
    const char *host;            /* "127.0.0.1", "fe80::1%eth0", or a path */
    unsigned port;
};

/* The options of TLS. Borrowed. */
struct cosocket_tls {
    const char *host; /* for SNI and the certificate; NULL: neither is checked or sent */
    bool verify;      /* check the server's certificate */
    const char *ca, *certificate, *key, *password;
    const char *ciphers, *cipher_suites;
    unsigned min_minor, max_minor; /* TLS 1.2 or 1.3: 2 or 3; 0: no limit */
    struct slice alpn;             /* protocols, each behind its length */
};

struct cosocket_counts {
    uint64_t received, sent; /* bytes of the script, without TLS's */
    double age;              /* seconds */
};

/* Something has happened to a cosocket that `wait` was called for. May call no function below. */
typedef void (*cosocket_ready_fn)(void *context, uint64_t tag);

/* A number that no cosocket has acts as one that is closed. */
struct cosocket_functions {
    /* Makes a cosocket without a descriptor. The caller calls `release` later. 0: none is free. */
    uint64_t (*make)(void *user);
    /* Gives it a new descriptor, which belongs to it, in place of the old one. */
    int (*open)(void *user, uint64_t number, enum cosocket_family family);
    /* Its descriptor, for reading and setting options; -1: it has none. */
    int (*descriptor)(void *user, uint64_t number);
    int (*bind)(void *user, uint64_t number, const struct cosocket_address *address);
    /* Begins to connect. AGAIN: call `connected` when COSOCKET_OUT is ready. */
    int (*connect)(void *user, uint64_t number, const struct cosocket_address *address);
    int (*connected)(void *user, uint64_t number);
    /* Writes what the socket takes at once, and adds the number of bytes to *sent. AGAIN, with
     * all of them sent: TLS has a part of them still. */
    int (*send)(void *user, uint64_t number, struct slice bytes, size_t *sent);
    /* The bytes that were received and not dropped; borrowed until the next call. */
    struct slice (*peek)(void *user, uint64_t number);
    void (*drop)(void *user, uint64_t number, size_t len);
    /* Reads more bytes behind them. DONE: there are more, or as many as are kept. */
    int (*fill)(void *user, uint64_t number);
    /* Calls on_ready(context, tag) once, when the side is ready, or closed, or after timeout_ms
     * (UINT64_MAX: for ever). NULL: the one with this tag does not wait any more. False: another
     * one waits for this side. */
    bool (*wait)(void *user, uint64_t number, enum cosocket_side side, uint64_t timeout_ms,
                 cosocket_ready_fn on_ready, void *context, uint64_t tag);
    /* Is the side ready now, or closed? */
    bool (*is_ready)(void *user, uint64_t number, enum cosocket_side side);
    /* Begins TLS on a connected one. AGAIN: call `shake_hands` when COSOCKET_IN is ready. */
    int (*begin_tls)(void *user, uint64_t number, const struct cosocket_tls *options);
    int (*shake_hands)(void *user, uint64_t number);
    /* The sentence about the last failure of TLS. */
    const char *(*why)(void *user);
    /* The protocol that both sides have agreed on; empty: none. */
    struct slice (*alpn)(void *user, uint64_t number);
    /* What is known of its TLS and of the server's certificate, which is the `client` there. NULL:
     * there is no TLS. The caller calls `free_facts`. */
    struct tls_facts *(*facts)(void *user, uint64_t number);
    void (*free_facts)(struct tls_facts *facts);
    /* Ends a direction, or both: bits 1 << enum cosocket_side. */
    int (*shutdown)(void *user, uint64_t number, unsigned sides);
    /* How many, of *open that are open and not kept, were not used for so long, on which no task
     * waits, and that no earlier call has counted since they were used. Closes those whose peer has
     * ended some time ago, without bytes that were not received. */
    uint32_t (*idle)(void *user, uint64_t ms, uint32_t *open);
    void (*counts)(void *user, uint64_t number, struct cosocket_counts *out);
    void (*set_counts)(void *user, uint64_t number, const struct cosocket_counts *counts);
    /* Takes it from the script, which does not use the number any more, and keeps it under the key,
     * for so long at most. Where the key has so many already, the oldest one is closed. DONE;
     * CLOSED: it is closed already; BUSY: the peer has sent bytes that were not received, or a task
     * waits. */
    int (*keep)(void *user, uint64_t number, struct slice key, uint64_t idle_ms, uint32_t most);
    /* The last one that was kept under the key and is still good, by a new number, with how often
     * it was taken before this. 0: there is none. */
    uint64_t (*take)(void *user, struct slice key, uint32_t *times);
    /* Closes the descriptor, and calls the waiters. */
    void (*close)(void *user, uint64_t number);
    /* The same, and the number is not used any more. */
    void (*release)(void *user, uint64_t number);
    void *user;
};

#endif
