/* response.c -- writes the head of an HTTP/1.1 response. See response.h. */
#include "net/http/response.h"

#include "net/http/date.h"
#include "net/http/request.h"

#include <stdio.h>
#include <string.h>

static const char FULL[] = "The response's headers are too large.";

static const struct {
    int status;
    const char *reason;
} REASONS[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {511, "Network Authentication Required"},
};

const char *response_reason(int status) {
    for (size_t i = 0; i < sizeof(REASONS) / sizeof(REASONS[0]); i++)
        if (REASONS[i].status == status)
            return REASONS[i].reason;
    switch (status / 100) {
    case 1:
        return "Informational";
    case 2:
        return "Success";
    case 3:
        return "Redirection";
    case 4:
        return "Client Error";
    case 5:
        return "Server Error";
    default:
        return "Unknown";
    }
}

static bool fail(struct response *res, const char *why) {
    if (res->error == NULL)
        res->error = why;
    return false;
}

static bool append(struct response *res, struct slice s) {
    if (s.len > res->cap - res->len)
        return fail(res, FULL);
    if (s.len > 0)
        memcpy(res->out + res->len, s.bytes, s.len);
    res->len += s.len;
    return true;
}

/* Adds "name: value", which are checked. */
static bool append_line(struct response *res, struct slice name, struct slice value) {
    return append(res, name) && append(res, slice_of(": ")) && append(res, value) &&
           append(res, slice_of("\r\n"));
}

/* Headers that frame the message: a second one could contradict ours. */
static bool is_reserved(struct slice name) {
    static const char *const names[] = {"Connection", "Content-Length", "Date",
                                        "Keep-Alive", "Trailer",        "Transfer-Encoding"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_is_nocase(name, names[i]))
            return true;
    return false;
}

static bool is_value(struct slice value) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.bytes[i];
        if ((c < ' ' && c != '\t') || c == 0x7F)
            return false;
    }
    return true;
}

/* Have responses with this status neither body nor Content-Length (RFC 9112 §6.3)? */
static bool is_bodiless(int status) {
    return status < 200 || status == 204 || status == 304;
}

bool response_has_content(int status) {
    return !is_bodiless(status) && status != 205;
}

void response_begin(struct response *res, char *out, size_t cap, int status, time_t now) {
    *res = (struct response){.out = out, .cap = cap, .status = status};
    if (status < 100 || status > 999) {
        fail(res, "The response's status is not between 100 and 999.");
        return;
    }
    char line[64];
    snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\n", status, response_reason(status));
    char date[DATE_BYTES];
    date_format(now, date);
    if (append(res, slice_of(line)))
        append_line(res, slice_of("Date"), slice_of(date));
}

bool response_add(struct response *res, struct slice name, struct slice value) {
    if (res->error != NULL)
        return false;
    if (!request_is_token(name))
        return fail(res, "A header's name is empty or has a character that is not allowed there.");
    if (is_reserved(name))
        return fail(res, "Connection, Content-Length, Date, Keep-Alive, Trailer and "
                         "Transfer-Encoding are written by the server itself.");
    if (!is_value(value))
        return fail(res, "A header's value has a line end or another control character.");
    if (!append_line(res, name, value))
        return false;
    if (slice_is_nocase(name, "Upgrade"))
        res->upgrade = true;
    return true;
}

bool response_set(struct response *res, const char *name, const char *value) {
    return response_add(res, slice_of(name), slice_of(value));
}

/* Writes the text as a JSON string without its quotes. Returns the length. */
static size_t escape(char *out, size_t cap, const char *text) {
    size_t len = 0;
    for (; *text != '\0' && len + 2 < cap; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            out[len++] = '\\';
        out[len++] = (char)(c < ' ' ? ' ' : c);
    }
    return len;
}

size_t response_refusal(char *out, size_t cap, int status, const char *why) {
    static const char begin[] = "{\"error\":\"";
    enum { REST = 32 }; /* bytes behind the text */
    size_t len = sizeof begin - 1;
    if (cap < len + REST)
        return 0;
    memcpy(out, begin, len);
    len += escape(out + len, cap - len - REST, why);
    return len + (size_t)snprintf(out + len, cap - len, "\",\"status\":%d}", status);
}

void response_forgive(struct response *res) {
    if (res->error != FULL && res->len > 0)
        res->error = NULL;
}

size_t response_end(struct response *res, int64_t length, int keep_seconds) {
    char text[64];
    bool bodiless = is_bodiless(res->status);
    if (length < 0 && !bodiless)
        keep_seconds = RESPONSE_CLOSE;
    snprintf(text, sizeof(text), "%lld", (long long)length);
    if (length >= 0 && !bodiless)
        append_line(res, slice_of("Content-Length"), slice_of(text));
    snprintf(text, sizeof(text), "%s%s", res->upgrade ? "Upgrade, " : "",
             keep_seconds == RESPONSE_CLOSE ? "close" : "keep-alive");
    append_line(res, slice_of("Connection"), slice_of(text));
    snprintf(text, sizeof(text), "timeout=%d", keep_seconds);
    if (keep_seconds > 0)
        append_line(res, slice_of("Keep-Alive"), slice_of(text));
    append(res, slice_of("\r\n"));
    return res->error == NULL ? res->len : 0;
}
