/* tls_options.h -- TLS between net and script: the options of the app's `tls`, and what scripts may
 * know of an encrypted connection. Plain values; those of options are read-only once made. */
#ifndef TIDEWIRE_CORE_HTTP_TLS_OPTIONS_H
#define TIDEWIRE_CORE_HTTP_TLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Files of one certificate, and the names for which it is used. */
struct tls_certificate_options {
    char *certificate, *key; /* files in PEM */
    char *ocsp;              /* a file in DER; NULL: nothing is stapled */
    char **names;            /* "example.com", "*.example.com" */
    size_t name_count;       /* 0: those in the certificate */
};

struct tls_options {
    struct tls_certificate_options *certificates; /* at least one, which is the default */
    size_t certificate_count;
    bool refuse_unknown_names; /* that no certificate has; false: the default is used */
    char *client_ca;           /* a file in PEM; NULL: clients need no certificates */
    bool client_required;      /* false: a client may have none */
    bool only_tls13;
    char *ciphers;       /* of TLS 1.2, in OpenSSL's form; NULL: the server's choice */
    char *cipher_suites; /* of TLS 1.3 */
};

/* Why options cannot be used. */
struct tls_problem {
    char text[1024];    /* a sentence; names the file */
    const char *option; /* "key", "client_ca", …; static */
    size_t number;      /* of the certificate, from 0; for its options alone */
};

/* A client's verified certificate. */
struct tls_client_facts {
    char *subject, *issuer; /* "CN=ada, O=…" */
    char *serial;           /* hexadecimal */
    char *fingerprint;      /* SHA-256, hexadecimal */
    char *names;            /* its alternative names: each ends with a NUL, the list with another */
    int64_t not_after;      /* Unix time */
};

struct tls_facts {
    const char *version, *cipher; /* "TLSv1.3", "TLS_AES_256_GCM_SHA384" */
    const char *alpn;             /* NULL: the client has named no protocol */
    char *server_name;            /* NULL: the client has named none */
    bool resumed;
    struct tls_client_facts *client; /* NULL: it has no certificate */
};

#endif
