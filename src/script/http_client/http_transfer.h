/* http_transfer.h -- one HTTP request to another server, and its response.
 *
 * A thin layer over libcurl's easy handle: it takes the request as plain values and returns the
 * response as plain values, or a sentence about the failure. Owns the handle and the bytes of the
 * response. Used on the worker's thread; does not know Lua, nor http_client.c, which drives the
 * handle. */
#ifndef TIDEWIRE_SCRIPT_HTTP_CLIENT_HTTP_TRANSFER_H
#define TIDEWIRE_SCRIPT_HTTP_CLIENT_HTTP_TRANSFER_H

#include "base/slice.h"

#include <curl/curl.h>
#include <stdint.h>

/* Borrowed until http_transfer_new() has returned. */
struct http_client_request {
    const char *url;      /* http_transfer_check_url() accepts it */
    const char *method;   /* in capitals */
    struct slice headers; /* whole lines, "Name: value\r\n", checked */
    struct slice body;    /* bytes NULL: none */
    uint32_t timeout_ms;  /* for the whole transfer, with its redirects */
    size_t max_bytes;     /* of the response's body */
    unsigned redirects;   /* so many are followed; 0: a redirect is the response */
    long trust_seconds;   /* the file of authorities is read again after this time; 0: now */
};

struct http_client_response {
    const char *failure; /* a sentence, and there is no response; NULL: there is one */
    int status;
    struct slice head; /* status line and header lines */
    struct slice body;
};

struct http_transfer;

/* Is it a URL of http or https, in its encoded form? False and a sentence if it is not. */
bool http_transfer_check_url(const char *url, char *error, size_t error_size);

/* NULL: libcurl does not accept the request. */
struct http_transfer *http_transfer_new(const struct http_client_request *request);

/* The handle that libcurl drives, until http_transfer_finish(). CURLOPT_PRIVATE is the caller's. */
CURL *http_transfer_handle(struct http_transfer *transfer);

/* libcurl has ended the transfer with this code, and the handle is out of its multi handle. */
void http_transfer_finish(struct http_transfer *transfer, CURLcode code);

/* After http_transfer_finish(); borrowed until the transfer is freed. */
const struct http_client_response *http_transfer_response(const struct http_transfer *transfer);

/* Its handle must not be in a multi handle. Accepts NULL. */
void http_transfer_free(struct http_transfer *transfer);

#endif
