/* http_transfer.h -- one HTTP request to another server, and what came of it.
 *
 * A thin coat over libcurl's easy handle: what is asked for goes in as plain values, the answer
 * comes out as plain values or as a sentence for people. Owns the handle and the bytes of the
 * answer. Used on the worker's thread; who drives the handle (http_client.c), and Lua, are not
 * known here. */
#ifndef TIDEWIRE_SCRIPT_HTTP_CLIENT_HTTP_TRANSFER_H
#define TIDEWIRE_SCRIPT_HTTP_CLIENT_HTTP_TRANSFER_H

#include "base/slice.h"

#include <curl/curl.h>
#include <stdint.h>

/* What is asked for. All of it is borrowed until http_transfer_new() has returned. */
struct http_order {
    const char *url;      /* one that http_transfer_check_url() takes */
    const char *method;   /* in capitals */
    struct slice headers; /* whole lines, "Name: value\r\n", checked */
    struct slice body;    /* bytes NULL: none */
    uint32_t timeout_ms;  /* for all of it, redirects too */
    size_t max_bytes;     /* of the answer's body */
    unsigned redirects;   /* how many are followed; 0: a redirect is an answer */
    long trust_seconds; /* the file of authorities may have been read so long ago; 0: it is read now
                         */
};

struct http_answer {
    const char *failure; /* why there is no answer, NULL: there is one */
    int status;
    struct slice head; /* status line and header lines */
    struct slice body;
};

struct http_transfer;

/* Is it a URL of http or https, in its encoded form? False and a sentence when not. */
bool http_transfer_check_url(const char *url, char *error, size_t error_size);

/* NULL: libcurl would not take it. */
struct http_transfer *http_transfer_new(const struct http_order *order);

/* What libcurl drives, until http_transfer_finish(). CURLOPT_PRIVATE is the caller's. */
CURL *http_transfer_handle(struct http_transfer *transfer);

/* libcurl is through with it, and the handle is out of its multi handle. */
void http_transfer_finish(struct http_transfer *transfer, CURLcode code);

/* After http_transfer_finish(); borrowed until the transfer is freed. */
const struct http_answer *http_transfer_answer(const struct http_transfer *transfer);

/* Its handle must not be in a multi handle. Accepts NULL. */
void http_transfer_free(struct http_transfer *transfer);

#endif
