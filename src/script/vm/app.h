/* app.h -- the options of an app, as plain C values. Read-only once made; any thread. */
#ifndef TIDEWIRE_SCRIPT_VM_APP_H
#define TIDEWIRE_SCRIPT_VM_APP_H

#include "base/token_bucket.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_options;

/* A list of texts. */
struct app_texts {
    char **at;
    size_t count;
};

/* A copy of its own. */
struct app_texts app_texts_copy(const struct app_texts *texts);
void app_texts_free(struct app_texts *texts);

/* The option `cluster`. */
struct app_cluster {
    struct app_texts urls; /* of the Redis servers; none: the machine is alone */
    double lease;          /* seconds: a machine that is silent for so long is dead */
    char *prefix, *ca, *certificate, *key, *key_password; /* NULL: not set */
    bool verify;
};

/* The same servers, reached in the same way? */
bool app_cluster_equal(const struct app_cluster *one, const struct app_cluster *other);

struct app {
    struct app_texts listen;      /* texts for address_parse() */
    bool listen_given;            /* the app or the command line names them; false: the default */
    struct app_texts admin_hosts; /* names by which requests may ask for the admin address */
    char *admin;                  /* NULL: no admin address */
    char *state;                  /* the state file; NULL: none */
    struct app_texts trusted_proxies; /* texts for trusted_proxies_new() */
    char *forwarded_header;           /* "X-Forwarded-For", "Forwarded"; NULL: either */
    bool proxy_protocol;
    struct tls_options *tls; /* NULL: no TLS */
    uint32_t max_connections;
    struct token_rate connection_rate, request_rate;   /* of one address */
    struct token_rate tls_handshake_rate;              /* of all addresses */
    uint32_t per_address;                              /* 0: no limit */
    size_t upload_backlog, upload_backlog_per_address; /* bytes */
    size_t response_backlog, response_backlog_per_address;
    double send_timeout;  /* seconds in which a client must receive some of its answer */
    size_t min_send_rate; /* bytes a second that a client must receive; 0: no limit */
    uint32_t endpoint_count, route_count;
    unsigned workers; /* how many, "auto" resolved */
    char *sources;    /* the script files that were looked for, one a line; they may be missing */
    char *shape;      /* its endpoints and their codecs: the same in all workers */
    double handshake_seconds, half_closed_seconds;
    double keep_alive_seconds; /* 0: connections of plain HTTP are not kept */
    uint32_t keep_alive_requests;
    size_t header_bytes;
    size_t receive_backlog;    /* bytes of unhandled messages, over all workers */
    size_t backlog;            /* bytes of all queues to WebSocket clients and servers */
    uint32_t outgoing_sockets; /* of scripts, to other servers */
    size_t worker_backlog;     /* bytes of mail from other workers that may wait for one */
    struct app_cluster cluster;
    size_t cluster_backlog; /* bytes that wait to be published to other machines */
    size_t cluster_members; /* bytes of what is known of members on other machines */
};

/* The number of workers that the option `workers` means; 0: "auto". */
unsigned app_workers(double number);

/* The message when the shapes of workers differ. */
extern const char app_shapes_differ[];

void app_free(struct app *app); /* accepts NULL */

#endif
