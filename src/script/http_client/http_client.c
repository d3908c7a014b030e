/* http_client.c -- HTTP requests on the worker's loop: libcurl's multi handle. See http_client.h.
 *
 * libcurl names the sockets for which it waits and a deadline (on_socket, on_deadline). A uv_poll_t
 * for each socket and one timer call it. It keeps connections for later requests, and looks up
 * names in threads of its own. */
#include "script/http_client/http_client.h"

#include "base/descriptors.h"
#include "base/list.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "base/slots.h"
#include "base/turn.h"

enum {
    MAX_REQUESTS = 1000,  /* at once */
    IDLE_CONNECTIONS = 64 /* kept for later requests */
};

struct http_client {
    uv_loop_t *loop;
    http_client_done_fn on_done;
    void *context;
    CURLM *multi;
    uv_timer_t timer;
    struct list sockets;   /* struct watched_socket */
    struct slots requests; /* struct pending_request, by its number */
    uint32_t running;      /* requests that have not ended */
};

struct pending_request {
    struct http_transfer *transfer;
    uint64_t number, tag;
    bool is_running; /* its handle is in the multi handle */
};

/* A socket for which libcurl waits. */
struct watched_socket {
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t fd;
    struct list link;
};

/* ---- the end of requests ---- */

static void collect_ended(struct http_client *client) {
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left)) != NULL;) {
        struct pending_request *request = NULL;
        CURL *easy = message->easy_handle;
        CURLcode code = message->data.result; /* the next call frees the message */
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&request);
        curl_multi_remove_handle(client->multi, easy);
        http_transfer_finish(request->transfer, code);
        request->is_running = false;
        client->running--;
        client->on_done(client->context, request->tag);
    }
}

/* ---- between the loop and libcurl ---- */

static void on_readiness(uv_poll_t *poll, int status, int events) {
    const struct watched_socket *watched = poll->data;
    struct http_client *client = watched->client;
    int flags = 0, running;
    turn_begin(poll->loop);
    if (status < 0) /* reset or refused: libcurl reads and writes to find out */
        flags = CURL_CSELECT_IN | CURL_CSELECT_OUT;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(client->multi, watched->fd, flags, &running); /* may free `watched` */
    collect_ended(client);
}

static void on_due(uv_timer_t *timer) {
    struct http_client *client = timer->data;
    int running;
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect_ended(client);
}

static void on_poll_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

static void unwatch(struct watched_socket *watched) {
    list_remove(&watched->link);
    uv_close((uv_handle_t *)&watched->poll, on_poll_closed); /* from now on it uses no descriptor */
}

static struct watched_socket *watch(struct http_client *client, curl_socket_t fd) {
    struct watched_socket *watched = mem_zalloc(sizeof *watched);
    int result = uv_poll_init_socket(client->loop, &watched->poll, fd);
    if (result != 0) {
        log_event(LOG_ERROR, "internal_error", uv_strerror(result));
        mem_free(watched);
        return NULL;
    }
    watched->poll.data = watched;
    watched->client = client;
    watched->fd = fd;
    list_append(&client->sockets, &watched->link);
    curl_multi_assign(client->multi, fd, watched);
    return watched;
}

/* CURLMOPT_SOCKETFUNCTION: from now on libcurl waits for this on a socket. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known) {
    (void)easy;
    struct watched_socket *watched = known;
    if (what == CURL_POLL_REMOVE) {
        if (watched != NULL)
            unwatch(watched);
        return 0;
    }
    if (watched == NULL)
        watched = watch(context, fd);
    if (watched == NULL)
        return 0; /* its request times out */
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&watched->poll, events, on_readiness);
    return 0;
}

/* CURLMOPT_TIMERFUNCTION: libcurl is to be called after this time even if no socket is ready; -1:
 * not. */
static int on_deadline(CURLM *multi, long timeout_ms, void *context) {
    (void)multi;
    struct http_client *client = context;
    if (timeout_ms < 0) {
        uv_timer_stop(&client->timer);
    } else {
        uv_update_time(client->loop); /* it may be old: a hook has run since */
        uv_timer_start(&client->timer, on_due, (uint64_t)timeout_ms, 0);
    }
    return 0;
}

/* ---- requests ---- */

uint64_t http_client_start(struct http_client *client, const struct http_client_request *values,
                           uint64_t tag, const char **why_not) {
    if (client->running >= MAX_REQUESTS) {
        *why_not = "too many HTTP requests are under way";
        return 0;
    }
    struct pending_request *request = mem_zalloc(sizeof *request);
    request->tag = tag;
    request->transfer = http_transfer_new(values);
    if (request->transfer != NULL)
        request->number = slots_add(&client->requests, request);
    if (request->number == 0) {
        http_transfer_free(request->transfer);
        mem_free(request);
        *why_not = "libcurl cannot make this request";
        return 0;
    }
    CURL *easy = http_transfer_handle(request->transfer);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    curl_multi_add_handle(client->multi, easy);
    request->is_running = true;
    client->running++;
    return request->number;
}

const struct http_client_response *http_client_response(const struct http_client *client,
                                                        uint64_t number) {
    const struct pending_request *request = slots_find(&client->requests, number);
    return request == NULL || request->is_running ? NULL
                                                  : http_transfer_response(request->transfer);
}

static void end(struct http_client *client, struct pending_request *request) {
    slots_remove(&client->requests, request->number);
    if (request->is_running) {
        curl_multi_remove_handle(client->multi, http_transfer_handle(request->transfer));
        client->running--;
    }
    http_transfer_free(request->transfer);
    mem_free(request);
}

void http_client_end(struct http_client *client, uint64_t number) {
    struct pending_request *request = slots_find(&client->requests, number);
    if (request != NULL)
        end(client, request);
}

/* ---- life ---- */

static void init_library(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if ((curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS) == 0)
        log_event(
            LOG_WARN, "http_client",
            "this libcurl blocks while it looks up a host's name: every connection waits then");
}

struct http_client *http_client_new(uv_loop_t *loop, http_client_done_fn on_done, void *context) {
    static uv_once_t once = UV_ONCE_INIT; /* for the whole process */
    uv_once(&once, init_library);
    struct http_client *client = mem_zalloc(sizeof *client);
    client->loop = loop;
    client->on_done = on_done;
    client->context = context;
    list_init(&client->sockets);
    uv_timer_init(loop, &client->timer);
    client->timer.data = client;
    client->multi = curl_multi_init();
    descriptors_close_on_exec(); /* it has opened some */
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_deadline);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
    return client;
}

static void on_timer_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

void http_client_free(struct http_client *client) {
    if (client == NULL)
        return;
    uint32_t at = 0;
    for (struct pending_request *request; (request = slots_next(&client->requests, &at)) != NULL;)
        end(client, request);
    slots_close(&client->requests);
    curl_multi_cleanup(client->multi); /* may call on_socket() and on_deadline() */
    while (!list_empty(&client->sockets))
        unwatch(LIST_OWNER(client->sockets.next, struct watched_socket, link));
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}
