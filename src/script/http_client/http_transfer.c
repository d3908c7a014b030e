/* http_transfer.c -- one HTTP request to another server. See http_transfer.h.
 *
 * configure() and its helpers set all options of libcurl; describe() has all sentences about
 * failures. What libcurl does by default and is not wanted here is switched off by name. */
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
    bool head_complete; /* its empty line was received */
    int head_status;
    long head_redirects; /* so many redirects had been followed when the head began */
    bool head_too_big, body_too_big;
    struct http_client_response response;
    char failure[CURL_ERROR_SIZE + 64];
    char error[CURL_ERROR_SIZE]; /* libcurl's own message */
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

/* ---- the response ---- */

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

/* Is the next line the first one of a head? Each response has a head, also a 100 or a redirect that
 * is followed. Other lines after a complete head are trailers, whatever their form. */
static bool is_first_line(const struct http_transfer *transfer) {
    if (!transfer->head_complete)
        return transfer->head.len == 0;
    return transfer->head_status / 100 == 1 || redirect_count(transfer) != transfer->head_redirects;
}

/* The last head replaces the ones before. */
static void begin_head(struct http_transfer *transfer, struct slice status_line) {
    transfer->head.len = 0;
    transfer->head_complete = false;
    transfer->head_status = status_of(status_line);
    transfer->head_redirects = redirect_count(transfer);
    /* RFC 9110 section 15.4.4: a GET follows a 303. libcurl does that after a POST only. */
    if (transfer->head_status == 303 && transfer->redirects > 0)
        curl_easy_setopt(transfer->easy, CURLOPT_CUSTOMREQUEST, NULL);
}

/* One line of a head, or of a trailer (RFC 9110 section 6.5), which is ignored. */
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
        (line.bytes[0] == ' ' || line.bytes[0] == '\t')) { /* continues the last line (obs-fold) */
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

/* ---- the request ---- */

/* Programs that scripts start must not inherit the connections. */
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

/* libcurl takes lines without their end, and "Name;" for an empty header. */
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
        add_header(transfer, "Content-Type:"); /* instead of libcurl's default, a form */
    add_header(transfer, "Expect:");           /* many servers never send the 100 Continue */
}

/* Sets an option; `good` stays true as long as libcurl accepts them. */
#define SET(option, value) (*good = curl_easy_setopt(easy, option, value) == CURLE_OK && *good)

static void set_method(CURL *easy, const struct http_client_request *request, bool *good) {
    bool post = strcmp(request->method, "POST") == 0;
    if (strcmp(request->method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
        return;
    }
    if (request->body.bytes != NULL) { /* also makes it a POST */
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        SET(CURLOPT_COPYPOSTFIELDS, request->body.bytes);
    }
    /* Only a POST becomes a GET after 301 and 302 (RFC 9110 section 15.4.2). */
    if (!post) {
        SET(CURLOPT_CUSTOMREQUEST, request->method);
        SET(CURLOPT_POSTREDIR, (long)(CURL_REDIR_POST_301 | CURL_REDIR_POST_302));
    }
}

/* The trusted authorities: the system's file, or the one that OpenSSL's variable names. libcurl
 * keeps what it has read of a file for some time. If a folder is set as well, it reads the file for
 * each connection, which blocks for 20 ms. */
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

static bool configure(struct http_transfer *transfer, const struct http_client_request *request) {
    CURL *easy = transfer->easy;
    bool all_good = true, *good = &all_good;
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_FOLLOWLOCATION, request->redirects > 0 ? 1L : 0L);
    SET(CURLOPT_MAXREDIRS, (long)request->redirects);
    SET(CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)request->timeout_ms);
    SET(CURLOPT_USERAGENT, "tidewire/" TIDEWIRE_VERSION);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* else the end of a request waits until its name is looked up */
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_ERRORBUFFER, transfer->error);
    SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, transfer);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, transfer);
    set_method(easy, request, good);
    set_authorities(easy, request->trust_seconds, good);
    add_headers(transfer, request->headers);
    SET(CURLOPT_HTTPHEADER, transfer->headers);
    return all_good;
}

/* ---- the result ---- */

static void fail(struct http_transfer *transfer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct http_transfer *transfer, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(transfer->failure, sizeof transfer->failure, format, arguments);
    va_end(arguments);
    transfer->response.failure = transfer->failure;
}

/* The system's error of the connection, in libuv's words: "connection refused". */
static void fail_with_system_error(struct http_transfer *transfer, const char *otherwise) {
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
        return fail_with_system_error(transfer, "cannot connect");
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return fail_with_system_error(transfer, words);
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
    transfer->response.status = (int)status;
    transfer->response.head = (struct slice){transfer->head.bytes, transfer->head.len};
    transfer->response.body = (struct slice){transfer->body.bytes, transfer->body.len};
}

const struct http_client_response *http_transfer_response(const struct http_transfer *transfer) {
    return &transfer->response;
}

/* ---- life ---- */

struct http_transfer *http_transfer_new(const struct http_client_request *request) {
    struct http_transfer *transfer = mem_zalloc(sizeof *transfer);
    transfer->timeout_ms = request->timeout_ms;
    transfer->max_bytes = request->max_bytes;
    transfer->redirects = request->redirects;
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL || !configure(transfer, request)) {
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
