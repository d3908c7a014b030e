/* http_dispatch.c -- passes plain requests to the scripts. See http_dispatch.h. */
#include "net/http/http_dispatch.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "net/http/response.h"

#include <string.h>

/* A folder of static files that could not be opened at its last request. */
struct missing_folder {
    struct missing_folder *next;
    int why; /* errno */
    char path[];
};

struct http_dispatch {
    struct http_server *server;
    struct stats *stats;
    struct http_handler handler;
    struct missing_folder *missing;
};

static void on_request(void *user, struct http *http, const struct request *request, char *body,
                       size_t body_len) {
    const struct http_dispatch *dispatch = user;
    stats_add(&dispatch->stats->http_requests, 1);
    const struct http_request info = {
        .head = request->head.bytes,
        .head_len = request->head.len,
        .body = body,
        .body_len = body_len,
        .remote_address = http_remote(http),
        .secure = http_is_secure(http),
        .forwarded_host = http_forwarded_host(http),
        .tls = stream_tls(http_stream(http)),
    };
    dispatch->handler.request(dispatch->handler.user, http_number(http), &info);
}

static void write_response(void *user, uint64_t number, int status, const char *headers,
                           const char *body, size_t body_len, const char *why) {
    const struct http_dispatch *dispatch = user;
    struct http *http = http_find(dispatch->server, number);
    if (http == NULL)
        return;
    http_note_refusal(http, why);
    http_respond(http, status, headers, body, body_len);
}

static void write_failure_response(void *user, uint64_t number, int status, const char *why) {
    char body[256];
    size_t len = response_refusal(body, sizeof body, status, why);
    write_response(user, number, status, RESPONSE_JSON, body, len, NULL);
}

/* Logs that a folder cannot be opened: once, until it can be, or the reason changes. Scripts name
 * few folders. */
static void note_folder(struct http_dispatch *dispatch, const char *path, int why) {
    struct missing_folder **at = &dispatch->missing, *lost;
    while ((lost = *at) != NULL && strcmp(lost->path, path) != 0)
        at = &lost->next;
    if (lost != NULL && lost->why == why)
        return;
    if (lost != NULL) {
        *at = lost->next;
        mem_free(lost);
    }
    if (why == 0) {
        log_eventf(LOG_INFO, "static_found", "the folder %s can be opened again", path);
        return;
    }
    lost = mem_alloc(sizeof *lost + strlen(path) + 1);
    *lost = (struct missing_folder){.next = dispatch->missing, .why = why};
    strcpy(lost->path, path);
    dispatch->missing = lost;
    log_eventf(LOG_ERROR, "static_failed", "the folder %s cannot be opened: %s", path,
               strerror(why));
}

static void write_file_response(void *user, uint64_t number, const char *folder, const char *path) {
    struct http_dispatch *dispatch = user;
    struct http *http = http_find(dispatch->server, number);
    if (http == NULL)
        return;
    int why = http_respond_file(http, folder, path);
    if (why > 0 || (why == 0 && dispatch->missing != NULL))
        note_folder(dispatch, folder, why);
}

static void go_on(void *user, uint64_t number) {
    const struct http_dispatch *dispatch = user;
    struct http *http = http_find(dispatch->server, number);
    if (http != NULL)
        http_go_on(http);
}

struct http_dispatch *http_dispatch_new(struct http_server *server, struct stats *stats,
                                        struct http_handler handler) {
    struct http_dispatch *dispatch = mem_zalloc(sizeof *dispatch);
    *dispatch = (struct http_dispatch){.server = server, .stats = stats, .handler = handler};
    http_server_on_request(server, on_request, dispatch);
    return dispatch;
}

struct http_responder http_dispatch_responder(struct http_dispatch *dispatch) {
    return (struct http_responder){write_response, write_failure_response, write_file_response,
                                   go_on, dispatch};
}

void http_dispatch_free(struct http_dispatch *dispatch) {
    if (dispatch == NULL)
        return;
    for (struct missing_folder *lost; (lost = dispatch->missing) != NULL;) {
        dispatch->missing = lost->next;
        mem_free(lost);
    }
    mem_free(dispatch);
}
