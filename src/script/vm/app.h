/* app.h -- what an app asks of the server, as plain C values. Read-only once made; any thread. */
#ifndef TIDEWIRE_SCRIPT_VM_APP_H
#define TIDEWIRE_SCRIPT_VM_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app {
    char **listen; /* texts for address_parse() */
    size_t listen_count;
    bool listen_given; /* somebody has said so: it is not only the default */
    char *admin;       /* NULL: no admin address */
    char *certificate; /* the file of `tls`; NULL: in plain */
    char *key;         /* and that of its key */
    uint32_t max_connections;
    uint32_t per_address;                              /* 0: no limit */
    size_t upload_backlog, upload_backlog_per_address; /* bytes */
    size_t response_backlog, response_backlog_per_address;
    double send_timeout;  /* seconds, in which a client must take of its answer */
    size_t min_send_rate; /* so many bytes a second; 0: anything */
    uint32_t endpoint_count, route_count;
    unsigned workers; /* how many, "auto" resolved */
    char *sources;    /* the script files that were asked for, one a line, there or not */
    char *shape;      /* its endpoints and their codecs: must be the same in all workers */
    double handshake_seconds, half_closed_seconds;
    size_t header_bytes;
    size_t receive_backlog; /* bytes of messages that are not handled yet, over all workers */
    size_t worker_backlog;  /* bytes that may wait for one worker from the others */
};

/* What to say when workers' shapes differ. */
extern const char app_shapes_differ[];

void app_free(struct app *app); /* accepts NULL */

#endif
