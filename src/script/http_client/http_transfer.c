/* http_transfer.c -- one HTTP request to another server. See http_transfer.h.
 *
 * Every option that libcurl is given stands in configure() and its helpers; every sentence about a
 * failure in describe(). What libcurl does by itself and is not wanted here is switched off by
 * name. */
#include "script/http_client/http_transfer.h"

#include "base/buffer.h"
#include "base/mem.h"
#include "tidewire_version.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

/* More than any honest server sends. */
enum { MAX_HEAD_BYTES = 64 * 1024 };

struct http_transfer {
    CURL *easy;
    struct curl_slist *headers;
    uint32_t timeout_ms;
    size_t max_bytes;
    unsigned redirects;
    struct buffer head, body;
    bool head_complete; /* its empty line has come */
    int head_status;
    long head_redirects; /* so many had been followed when it began */
    bool head_too_big, body_too_big;
    struct http_answer answer;
    char failure[CURL_ERROR_SIZE + 64];
    char error[CURL_ERROR_SIZE]; /* libcurl's own words */
};

/* ---- URLs ---- */

bool http_transfer_check_url(const char *url, char *error, size_t error_size) {
    CURLU *parts = curl_url();
    char *host = NULL;
    CURLUcode code = curl_url_set(parts, CURLUPART_URL, url, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(parts, CURLUPART_HOST, &host, 0);
    if (code != CURLUE_OK)
        snprintf(error, error_size, "%s", curl_url_strerror(code));
    curl_free(host);
    curl_url_cleanup(parts);
    return code == CURLUE_OK;
}

/* ---- what comes in ---- */

/* The three digits of "HTTP/1.1 303 See Other"; 0: it has none. libcurl has taken the line for a
 * status line. */
static int status_of(struct slice line) {
    const char *space = memchr(line.bytes, ' ', line.len);
    if (space == NULL || line.bytes + line.len - space < 4)
        return 0;
    int status = 0;
    for (int i = 1; i <= 3; i++) {
        if (space[i] < '0' || space[i] > '9')
            return 0;
        status = status * 10 + (space[i] - '0');
    }
    return status;
}

static long redirect_count(const struct http_transfer *transfer) {
    long count = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_COUNT, &count);
    return count;
}

/* Is the line that comes the first of a head? Each answer on the way (100, a redirect that is
 * followed) has one; what comes after another is a trailer, whatever it looks like. */
static bool is_first_line(const struct http_transfer *transfer) {
    if (!transfer->head_complete)
        return transfer->head.len == 0;
    return transfer->head_status / 100 == 1 || redirect_count(transfer) != transfer->head_redirects;
}

/* The last head counts. */
static void begin_head(struct http_transfer *transfer, struct slice status_line) {
    transfer->head.len = 0;
    transfer->head_complete = false;
    transfer->head_status = status_of(status_line);
    transfer->head_redirects = redirect_count(transfer);
    /* RFC 9110 section 15.4.4: what comes after a 303 is a GET. libcurl knows that of POST only. */
    if (transfer->head_status == 303 && transfer->redirects > 0)
        curl_easy_setopt(transfer->easy, CURLOPT_CUSTOMREQUEST, NULL);
}

/* One line of a head, or of a trailer (RFC 9110 section 6.5), which is left out. */
static size_t on_header(char *bytes, size_t size, size_t count, void *context) {
    struct http_transfer *transfer = context;
    struct slice line = {bytes, size * count};
    if (is_first_line(transfer))
        begin_head(transfer, line);
    else if (transfer->head_complete)
        return line.len;
    struct buffer *head = &transfer->head;
    if (line.len > MAX_HEAD_BYTES - head->len) {
        transfer->head_too_big = true;
        return 0;
    }
    if (line.len > 0 &&
        (line.bytes[0] == ' ' || line.bytes[0] == '\t')) { /* it goes on (obs-fold) */
        while (head->len > 0 && strchr("\r\n", head->bytes[head->len - 1]) != NULL)
            head->len--;
    }
    transfer->head_complete = line.len > 0 && strchr("\r\n", line.bytes[0]) != NULL;
    buffer_add(head, line.bytes, line.len);
    return line.len;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context) {
    struct http_transfer *transfer = context;
    size_t len = size * count;
    curl_off_t announced = -1;
    if (transfer->body.len == 0) {
        curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
        transfer->body_too_big = announced > 0 && (uint64_t)announced > transfer->max_bytes;
    }
    if (transfer->body_too_big || len > transfer->max_bytes - transfer->body.len) {
        transfer->body_too_big = true;
        return 0;
    }
    buffer_add(&transfer->body, bytes, len);
    return len;
}

/* ---- what goes out ---- */

/* Programs that a script starts must not keep our connections open. */
static int on_socket(void *context, curl_socket_t fd, curlsocktype purpose) {
    (void)context, (void)purpose;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return CURL_SOCKOPT_OK;
}

static void add_header(struct http_transfer *transfer, const char *line) {
    struct curl_slist *headers = curl_slist_append(transfer->headers, line);
    if (headers != NULL)
        transfer->headers = headers;
}

/* libcurl takes lines without their end, and "Name;" for a header that is there and empty. */
static void add_headers(struct http_transfer *transfer, struct slice lines) {
    bool has_type = false;
    while (lines.len > 0) {
        size_t len = (size_t)((const char *)memchr(lines.bytes, '\r', lines.len) - lines.bytes);
        char *line = mem_strndup(lines.bytes, len);
        if (len >= 2 && memcmp(line + len - 2, ": ", 2) == 0)
            strcpy(line + len - 2, ";");
        has_type = has_type || strncasecmp(line, "content-type", 12) == 0;
        add_header(transfer, line);
        mem_free(line);
        lines.bytes += len + 2;
        lines.len -= len + 2;
    }
    if (!has_type)
        add_header(transfer, "Content-Type:"); /* not libcurl's guess, a form */
    add_header(transfer, "Expect:"); /* no 100-continue: many servers leave one waiting for it */
}

/* Collects whether libcurl took all of the options. */
#define SET(option, value) (*good = curl_easy_setopt(easy, option, value) == CURLE_OK && *good)

static void set_method(CURL *easy, const struct http_order *order, bool *good) {
    bool post = strcmp(order->method, "POST") == 0;
    if (strcmp(order->method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
        return;
    }
    if (order->body.bytes != NULL) { /* makes it a POST, too */
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)order->body.len);
        SET(CURLOPT_COPYPOSTFIELDS, order->body.bytes);
    }
    /* Only a POST becomes a GET after 301 and 302 (RFC 9110 section 15.4.2). */
    if (!post) {
        SET(CURLOPT_CUSTOMREQUEST, order->method);
        SET(CURLOPT_POSTREDIR, (long)(CURL_REDIR_POST_301 | CURL_REDIR_POST_302));
    }
}

/* Whom to trust: the system's file of authorities, or the one that OpenSSL's variable names.
 * libcurl reads a file once in a while, but anew for each connection (20 ms of blocking) where a
 * folder is set as well. */
static void set_authorities(CURL *easy, long seconds, bool *good) {
    const char *file = getenv("SSL_CERT_FILE");
    bool own = file != NULL && *file != '\0';
    if (own)
        SET(CURLOPT_CAINFO, file);
    if (own || curl_version_info(CURLVERSION_NOW)->cainfo != NULL)
        SET(CURLOPT_CAPATH, NULL);
#if LIBCURL_VERSION_NUM >= 0x075700 /* older ones keep nothing */
    SET(CURLOPT_CA_CACHE_TIMEOUT, seconds);
#else
    (void)seconds;
#endif
}

static bool configure(struct http_transfer *transfer, const struct http_order *order) {
    CURL *easy = transfer->easy;
    bool all_good = true, *good = &all_good;
    SET(CURLOPT_URL, order->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_FOLLOWLOCATION, order->redirects > 0 ? 1L : 0L);
    SET(CURLOPT_MAXREDIRS, (long)order->redirects);
    SET(CURLOPT_TIMEOUT_MS, (long)order->timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)order->timeout_ms);
    SET(CURLOPT_USERAGENT, "tidewire/" TIDEWIRE_VERSION);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* else the end of a request waits for its look-up of the name */
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_ERRORBUFFER, transfer->error);
    SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, transfer);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, transfer);
    set_method(easy, order, good);
    set_authorities(easy, order->trust_seconds, good);
    add_headers(transfer, order->headers);
    SET(CURLOPT_HTTPHEADER, transfer->headers);
    return all_good;
}

/* ---- what came of it ---- */

static void fail(struct http_transfer *transfer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct http_transfer *transfer, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(transfer->failure, sizeof transfer->failure, format, arguments);
    va_end(arguments);
    transfer->answer.failure = transfer->failure;
}

/* What the system said of the connection, in libuv's words: "connection refused". */
static void fail_by_system(struct http_transfer *transfer, const char *otherwise) {
    long error = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &error);
    fail(transfer, "%s", error != 0 ? uv_strerror(uv_translate_sys_error((int)error)) : otherwise);
}

static void describe(struct http_transfer *transfer, CURLcode code) {
    const char *words = transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(code);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return fail(transfer, "could not resolve host");
    case CURLE_COULDNT_RESOLVE_PROXY:
        return fail(transfer, "could not resolve the proxy's host");
    case CURLE_COULDNT_CONNECT:
        return fail_by_system(transfer, "cannot connect");
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return fail_by_system(transfer, words);
    case CURLE_OPERATION_TIMEDOUT:
        return fail(transfer, "timed out after %g s", transfer->timeout_ms / 1000.0);
    case CURLE_GOT_NOTHING:
        return fail(transfer, "the connection was closed without an answer");
    case CURLE_PARTIAL_FILE:
        return fail(transfer, "the answer ended too early");
    case CURLE_TOO_MANY_REDIRECTS:
        return fail(transfer, "more than %u redirect%s", transfer->redirects,
                    transfer->redirects == 1 ? "" : "s");
    case CURLE_UNSUPPORTED_PROTOCOL:
        if (strstr(words, "HTTP/0.9") == NULL)
            return fail(transfer, "redirected to a URL that is neither http nor https");
        return fail(transfer, "the answer is not HTTP");
    case CURLE_PEER_FAILED_VERIFICATION:
        return fail(transfer, "the server's certificate is not accepted: %s", words);
    case CURLE_SSL_CACERT_BADFILE:
        return fail(transfer,
                    "no certificate can be checked, because the list of trusted authorities "
                    "cannot be read (package ca-certificates, or SSL_CERT_FILE)");
    case CURLE_SSL_CONNECT_ERROR:
        return fail(transfer, "no TLS connection: %s", words);
    default:
        return fail(transfer, "%s", words);
    }
}

void http_transfer_finish(struct http_transfer *transfer, CURLcode code) {
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->body_too_big)
        fail(transfer, "the answer is larger than %zu bytes", transfer->max_bytes);
    else if (transfer->head_too_big)
        fail(transfer, "the answer's headers are larger than %d bytes", MAX_HEAD_BYTES);
    else if (code != CURLE_OK)
        describe(transfer, code);
    transfer->answer.status = (int)status;
    transfer->answer.head = (struct slice){transfer->head.bytes, transfer->head.len};
    transfer->answer.body = (struct slice){transfer->body.bytes, transfer->body.len};
}

const struct http_answer *http_transfer_answer(const struct http_transfer *transfer) {
    return &transfer->answer;
}

/* ---- life ---- */

struct http_transfer *http_transfer_new(const struct http_order *order) {
    struct http_transfer *transfer = mem_zalloc(sizeof *transfer);
    transfer->timeout_ms = order->timeout_ms;
    transfer->max_bytes = order->max_bytes;
    transfer->redirects = order->redirects;
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL || !configure(transfer, order)) {
        http_transfer_free(transfer);
        return NULL;
    }
    return transfer;
}

CURL *http_transfer_handle(struct http_transfer *transfer) {
    return transfer->easy;
}

void http_transfer_free(struct http_transfer *transfer) {
    if (transfer == NULL)
        return;
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    buffer_free(&transfer->head);
    buffer_free(&transfer->body);
    mem_free(transfer);
}
