/* redis_url.h -- the URL of a Redis server.
 *
 * redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?OPTION=VALUE&…], rediss:// (TLS), and
 * redis+unix://[[USER]:PASSWORD@]/PATH[?…]; valkey://, valkeys://, valkey+unix://, unix:// and
 * unix:/PATH mean the same. Everything may be percent-encoded (RFC 3986 section 2.1). The options
 * are those of redis-py that concern a server. A struct redis_url owns its texts. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_URL_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_URL_H

#include "base/error_text.h"

#include <stdbool.h>

struct redis_url {
    char *name; /* for people and logs: the URL without user, password and options */
    bool is_unix;
    char *host; /* a name, an IP address without brackets, or the path of the socket */
    unsigned port;
    char *user, *password; /* NULL: none. A user has a password */
    unsigned database;
    char *client_name; /* for CLIENT SETNAME; NULL: the caller's */
    bool tls;
    bool verify, check_host; /* the server's certificate, and that it is for this host */
    char *ca, *certificate, *key, *key_password; /* files in PEM, as for cosocket_tls; NULL: none */
    unsigned connect_timeout_ms, timeout_ms;     /* 0: the caller's */
};

/* False, with a sentence, when the text is no such URL. No part of the user or the password is in
 * the sentence. The caller calls redis_url_close() in both cases. */
bool redis_url_parse(const char *text, struct redis_url *url, const struct error_text *error);
/* A copy with texts of its own. */
struct redis_url redis_url_copy(const struct redis_url *url);
void redis_url_close(struct redis_url *url);

#endif
