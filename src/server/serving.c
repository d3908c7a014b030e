/* serving.c -- the log lines of the start. See serving.h.
 *
 *     serving http://127.0.0.1:8080/ (WebSocket: /chat, /game/:room) */
#include "server/serving.h"

#include "base/buffer.h"
#include "base/log/log.h"
#include "net/socket/address.h"

#include <string.h>
#include <unistd.h>

/* A line names so many addresses and endpoints; it counts the others. */
enum { MAX_NAMES = 8 };

/* The URL of one address. For all interfaces it is localhost, which this machine surely reaches. */
static void add_url(struct buffer *text, const char *address, bool tls) {
    const char *port = strrchr(address, ':'), *scheme = tls ? "https" : "http";
    bool is_any = strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
    if (strncmp(address, "unix:", 5) == 0)
        buffer_printf(text, "%s", address);
    else if (is_any)
        buffer_printf(text, "%s://localhost%s/ on all interfaces", scheme, port);
    else
        buffer_printf(text, "%s://%s/", scheme, address);
}

static void add_urls(struct buffer *text, const struct listen_set *set, bool tls, unsigned *count) {
    char address[ADDRESS_TEXT_BYTES];
    for (size_t i = 0; listen_address(set, i, address, sizeof address); i++) {
        if (++*count > MAX_NAMES)
            continue;
        buffer_printf(text, "%s", *count == 1 ? "" : ", ");
        add_url(text, address, tls);
    }
}

static void add_more(struct buffer *text, unsigned count) {
    if (count > MAX_NAMES)
        buffer_printf(text, " and %u more", count - MAX_NAMES);
}

/* The paths of the endpoints: the app's shape has one endpoint a line, its path first. */
static void add_endpoints(struct buffer *text, const struct app *app) {
    unsigned count = 0;
    buffer_printf(text, " (WebSocket: ");
    for (const char *line = app->shape; line != NULL && *line != '\0';) {
        int len = (int)strcspn(line, " \n");
        if (app->endpoint_count == 1 && len == 2 && strncmp(line, "/*", 2) == 0)
            buffer_printf(text, "every path");
        else if (++count <= MAX_NAMES)
            buffer_printf(text, "%s%.*s", count == 1 ? "" : ", ", len, line);
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    add_more(text, count);
    buffer_printf(text, ")");
}

/* Logs the text, and empties it. */
static void log_text(const char *event, struct buffer *text) {
    struct log_line line;
    log_begin(&line, LOG_INFO, event);
    log_bytes(&line, "message", buffer_start(text), text->len);
    log_end(&line);
    buffer_free(text);
}

void serving_log(const struct listeners *listeners, const struct app *app) {
    struct buffer text = {0};
    unsigned count = 0;
    buffer_printf(&text, "serving ");
    for (size_t i = 0; i < listeners->count; i++)
        add_urls(&text, listeners->sets[i], app->tls != NULL, &count);
    add_more(&text, count);
    if (app->endpoint_count > 0)
        add_endpoints(&text, app);
    log_text("serving", &text);
    if (listeners->admin == NULL || !log_is_pretty())
        return;
    count = 0;
    buffer_printf(&text, "admin address ");
    add_urls(&text, listeners->admin, false, &count);
    log_text("serving", &text);
}

void serving_log_ready(const struct app *app) {
    struct log_line line;
    log_begin(&line, LOG_INFO, "ready");
    log_int(&line, "endpoints", app->endpoint_count);
    log_int(&line, "routes", app->route_count);
    log_int(&line, "workers", app->workers);
    if (app->tls != NULL)
        log_str(&line, "tls", "on");
    log_int(&line, "pid", getpid());
    log_end(&line);
}
