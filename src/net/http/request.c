/* request.c -- the head of an HTTP/1.x request, checked strictly. See request.h.
 *
 * Two steps. `scan` checks each byte once, as it arrives, by the grammar of RFC 9112 §2 to §5: it
 * refuses a head that cannot become a request at the first wrong byte, and a request that arrives
 * byte by byte costs no more than one that arrives at once. After the blank line `collect` cuts the
 * head, which is well-formed then, into slices and checks their meaning. */
#include "net/http/request.h"

#include <string.h>

/* ---- scanning ---- */

/* What the next byte is. */
enum scan_state {
    AT_START, /* the first of the request line, or of an empty line before it (RFC 9112 §2.2) */
    EMPTY_LINE_LF, /* the LF of that empty line */
    IN_METHOD,     /* of the method, or the space behind it */
    IN_TARGET,     /* of the target, or the space behind it */
    IN_VERSION,    /* of "HTTP/1.1", or the CR behind it */
    LINE_LF,       /* the LF of the request line or of a header */
    LINE_START,    /* the first of a header, or of the blank line */
    IN_NAME,       /* of a header's name, or its colon */
    IN_VALUE,      /* of a header's value, or the CR behind it */
    END_LF,        /* the LF of the blank line */
    COMPLETE       /* not of the head */
};

static const char VERSION_FORM[] = "HTTP/d.d"; /* d = a digit */

int request_hex_digit(unsigned char byte) {
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20; /* lower case */
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

bool request_token_byte(unsigned char c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

bool request_is_token(struct slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (!request_token_byte((unsigned char)s.bytes[i]))
            return false;
    return s.len > 0;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static int refuse(struct request *r, int status, const char *why) {
    r->error = why;
    return -status;
}

static int begin_request_line(struct request *r, size_t i, unsigned char c) {
    if (c == 0x16 || c == 0x80)
        return refuse(r, 400, "This port speaks plain HTTP, and this looks like TLS.");
    if (!request_token_byte(c))
        return refuse(r, 400, "This is not an HTTP request.");
    r->scan.start = r->scan.mark = i;
    r->scan.state = IN_METHOD;
    return 0;
}

static int scan_method(struct request *r, size_t i, unsigned char c) {
    if (c == ' ') {
        r->scan.mark = i + 1;
        r->scan.state = IN_TARGET;
        return 0;
    }
    if (!request_token_byte(c))
        return refuse(r, 400, "The request's method is malformed.");
    if (i - r->scan.mark >= REQUEST_MAX_METHOD)
        return refuse(r, 501, "The request's method is unknown.");
    return 0;
}

static int scan_target(struct request *r, size_t i, unsigned char c) {
    if (c == ' ' && i > r->scan.mark) {
        r->scan.mark = i + 1;
        r->scan.state = IN_VERSION;
        return 0;
    }
    if (c <= ' ' || c >= 0x7F || c == '#')
        return refuse(r, 400,
                      "The request's target has a byte that must be percent-encoded, or the "
                      "request line lacks its HTTP version.");
    return 0;
}

static int scan_version(struct request *r, const char *bytes, size_t i, char c) {
    size_t at = i - r->scan.mark;
    char form = VERSION_FORM[at]; /* its NUL stands for the CR behind the version */
    if (form == '\0' && c == '\r') {
        if (bytes[r->scan.mark + 5] != '1')
            return refuse(r, 505, "This server supports only HTTP/1.1.");
        r->scan.state = LINE_LF;
        return 0;
    }
    if (form == '\0' || (form == 'd' ? !is_digit(c) : c != form))
        return refuse(r, 400, "The request line does not end with HTTP/1.1.");
    return 0;
}

static int scan_line_start(struct request *r, unsigned char c) {
    if (c == '\r') {
        r->scan.state = END_LF;
        return 0;
    }
    if (c == ' ' || c == '\t')
        return refuse(r, 400, "A header is folded over two lines, or begins with a space.");
    if (!request_token_byte(c))
        return refuse(r, 400, "A header's name is malformed.");
    if (++r->scan.lines > REQUEST_MAX_HEADERS)
        return refuse(r, 431, "The request has too many headers.");
    r->scan.state = IN_NAME;
    return 0;
}

static int scan_name(struct request *r, unsigned char c) {
    if (c == ':')
        r->scan.state = IN_VALUE;
    else if (!request_token_byte(c))
        return refuse(r, 400,
                      "A header's name is malformed, or its colon does not follow directly.");
    return 0;
}

static int scan_value(struct request *r, unsigned char c) {
    if (c == '\r')
        r->scan.state = LINE_LF;
    else if ((c < ' ' && c != '\t') || c == 0x7F)
        return refuse(r, 400,
                      "A header has a control character, or its line does not end in CRLF.");
    return 0;
}

/* Behind a CR only its LF may follow. */
static int scan_lf(struct request *r, unsigned char c, enum scan_state next) {
    if (c != '\n')
        return refuse(r, 400, "A line of the request does not end in CRLF.");
    r->scan.state = (uint8_t)next;
    return 0;
}

/* One byte; 0 or minus a status. */
static int scan_byte(struct request *r, const char *bytes, size_t i) {
    unsigned char c = (unsigned char)bytes[i];
    switch ((enum scan_state)r->scan.state) {
    case AT_START:
        if (c == '\r' && i == 0) {
            r->scan.state = EMPTY_LINE_LF;
            return 0;
        }
        return begin_request_line(r, i, c);
    case EMPTY_LINE_LF:
        return scan_lf(r, c, AT_START);
    case IN_METHOD:
        return scan_method(r, i, c);
    case IN_TARGET:
        return scan_target(r, i, c);
    case IN_VERSION:
        return scan_version(r, bytes, i, (char)c);
    case LINE_LF:
        return scan_lf(r, c, LINE_START);
    case LINE_START:
        return scan_line_start(r, c);
    case IN_NAME:
        return scan_name(r, c);
    case IN_VALUE:
        return scan_value(r, c);
    case END_LF:
        return scan_lf(r, c, COMPLETE);
    case COMPLETE:
        break;
    }
    return 0;
}

/* ---- collecting ---- */

/* Takes the bytes before the next `mark` off the front of `rest`, and the mark with them. */
static struct slice take_until(struct slice *rest, char mark) {
    const char *at = memchr(rest->bytes, mark, rest->len);
    struct slice taken = {rest->bytes, (size_t)(at - rest->bytes)};
    slice_skip(rest, taken.len + 1);
    return taken;
}

static bool all_digits(struct slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (!is_digit(s.bytes[i]))
            return false;
    return true;
}

bool request_is_host(struct slice s) {
    const char *allowed = "-._~%!$&'()*+;=";
    size_t i = 0;
    if (s.len > 0 && s.bytes[0] == '[') {
        allowed = ":.%-_~"; /* the rest of an IPv6 address with its zone */
        i = 1;
    }
    size_t first = i;
    for (; i < s.len; i++) {
        char c = s.bytes[i];
        bool alnum = is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && (c == '\0' || strchr(allowed, c) == NULL))
            break;
    }
    if (i == first)
        return false;
    if (first == 1) {
        if (i == s.len || s.bytes[i] != ']')
            return false;
        i++;
    }
    if (i == s.len)
        return true;
    return s.bytes[i] == ':' && all_digits((struct slice){s.bytes + i + 1, s.len - i - 1});
}

/* The part of an absolute target behind "scheme://"; no bytes: it is no such target. */
static struct slice after_scheme(struct slice target) {
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i]);
        if (target.len > len && strncasecmp(target.bytes, schemes[i], len) == 0)
            return (struct slice){target.bytes + len, target.len - len};
    }
    return (struct slice){NULL, 0};
}

/* Splits the target (RFC 9112 §3.2) into host, path and query. */
static int split_target(struct request *r) {
    struct slice rest = r->target;
    if (slice_is(r->target, "*") && slice_is(r->method, "OPTIONS")) { /* the server as a whole */
        r->path = rest;
        return 0;
    }
    if (rest.bytes[0] != '/') {
        rest = after_scheme(r->target);
        if (rest.bytes == NULL)
            return refuse(r, 400, "The request's target must be a path that begins with \"/\".");
        size_t len = 0;
        while (len < rest.len && rest.bytes[len] != '/' && rest.bytes[len] != '?')
            len++;
        r->host = (struct slice){rest.bytes, len};
        if (!request_is_host(r->host))
            return refuse(r, 400, "The host in the request's target is malformed.");
        slice_skip(&rest, len);
    }
    const char *mark = memchr(rest.bytes, '?', rest.len);
    r->path = (struct slice){rest.bytes, mark == NULL ? rest.len : (size_t)(mark - rest.bytes)};
    if (mark != NULL)
        r->query = (struct slice){mark + 1, rest.len - r->path.len - 1};
    if (r->path.len == 0) /* "http://host" means its root */
        r->path = slice_of("/");
    return 0;
}

static int check_host(struct request *r) {
    size_t count;
    const struct slice *host = request_header(r, "Host", &count);
    if (count > 1)
        return refuse(r, 400, "The request has more than one Host header.");
    if (count == 0 && r->minor >= 1)
        return refuse(r, 400, "The request has no Host header.");
    if (count == 1 && host->len > 0 && !request_is_host(*host))
        return refuse(r, 400, "The Host header is malformed.");
    if (count == 1 && r->host.len == 0) /* the target's own host goes first (RFC 9112 §3.2.2) */
        r->host = *host;
    return 0;
}

int64_t request_decimal(struct slice s) {
    if (s.len == 0 || !all_digits(s))
        return -1;
    if (s.len > 18)
        return INT64_MAX;
    int64_t number = 0;
    for (size_t i = 0; i < s.len; i++)
        number = number * 10 + (s.bytes[i] - '0');
    return number;
}

static int check_length(struct request *r, struct slice value) {
    int64_t length = request_decimal(value);
    if (length < 0)
        return refuse(r, 400, "Content-Length is not a number.");
    if (length == INT64_MAX)
        return refuse(r, 413, "Content-Length is too large.");
    if (r->content_length >= 0 && r->content_length != length)
        return refuse(r, 400, "The request has two different Content-Length headers.");
    r->content_length = length;
    return 0;
}

/* How long is the body (RFC 9112 §6)? Refuses all that a proxy may answer in another way. */
static int check_body(struct request *r) {
    for (size_t i = 0; i < r->field_count; i++) {
        if (slice_is_nocase(r->fields[i].name, "Content-Length")) {
            int status = check_length(r, r->fields[i].value);
            if (status != 0)
                return status;
        }
    }
    size_t codings;
    const struct slice *coding = request_header(r, "Transfer-Encoding", &codings);
    if (codings == 0)
        return 0;
    if (r->content_length >= 0)
        return refuse(r, 400, "The request has both Content-Length and Transfer-Encoding.");
    if (codings > 1)
        return refuse(r, 400, "The request has more than one Transfer-Encoding header.");
    if (r->minor == 0)
        return refuse(r, 400, "Transfer-Encoding does not exist in HTTP/1.0.");
    if (!slice_is_nocase(*coding, "chunked"))
        return refuse(r, 501, "The only supported Transfer-Encoding is \"chunked\".");
    r->chunked = true;
    return 0;
}

static int check_expectation(struct request *r) {
    if (r->minor == 0 || request_header(r, "Expect", NULL) == NULL)
        return 0;
    size_t count;
    const struct slice *expect = request_header(r, "Expect", &count);
    if (count > 1 || !slice_is_nocase(*expect, "100-continue"))
        return refuse(r, 417, "The only supported expectation is \"100-continue\".");
    r->expect_continue = true;
    return 0;
}

/* Cuts a complete head, which is well-formed, into its parts. 0 or minus a status. */
static int collect(struct request *r, const char *bytes) {
    r->head = (struct slice){bytes + r->scan.start, r->scan.next - r->scan.start};
    r->host = r->query = (struct slice){NULL, 0};
    r->content_length = -1;
    r->chunked = r->expect_continue = false;
    r->field_count = 0;
    r->error = NULL;

    struct slice rest = r->head;
    r->method = take_until(&rest, ' ');
    r->target = take_until(&rest, ' ');
    r->minor = rest.bytes[7] == '0' ? 0 : 1;
    take_until(&rest, '\n');
    while (rest.bytes[0] != '\r') {
        struct slice line = take_until(&rest, '\r');
        slice_skip(&rest, 1); /* its LF */
        struct request_field *field = &r->fields[r->field_count++];
        field->name = take_until(&line, ':');
        field->value = slice_trim(line);
    }

    int status = split_target(r);
    if (status == 0)
        status = check_host(r);
    if (status == 0)
        status = check_body(r);
    if (status == 0)
        status = check_expectation(r);
    return status;
}

/* ---- the public functions ---- */

int request_parse(struct request *r, const char *bytes, size_t len, size_t max_bytes) {
    size_t end = len < max_bytes ? len : max_bytes;
    while (r->scan.next < end && r->scan.state != COMPLETE) {
        int status = scan_byte(r, bytes, r->scan.next);
        if (status != 0)
            return status;
        r->scan.next++;
    }
    if (r->scan.state == COMPLETE) {
        int status = collect(r, bytes);
        return status != 0 ? status : (int)r->scan.next;
    }
    if (len < max_bytes)
        return 0;
    if (r->scan.state <= IN_VERSION)
        return refuse(r, 414, "The request's target is too long.");
    return refuse(r, 431, "The request's headers are too large.");
}

const struct slice *request_header(const struct request *r, const char *name, size_t *count) {
    const struct slice *first = NULL;
    size_t found = 0;
    for (size_t i = 0; i < r->field_count; i++) {
        if (!slice_is_nocase(r->fields[i].name, name))
            continue;
        if (found++ == 0)
            first = &r->fields[i].value;
        if (count == NULL)
            break;
    }
    if (count != NULL)
        *count = found;
    return first;
}

bool request_list_next(struct slice *list, struct slice *item) {
    while (list->len > 0) {
        const char *comma = memchr(list->bytes, ',', list->len);
        size_t len = comma == NULL ? list->len : (size_t)(comma - list->bytes);
        *item = slice_trim((struct slice){list->bytes, len});
        size_t taken = comma == NULL ? len : len + 1;
        slice_skip(list, taken);
        if (item->len > 0)
            return true;
    }
    return false;
}

bool request_list_has(struct slice value, const char *token) {
    struct slice item;
    while (request_list_next(&value, &item))
        if (slice_is_nocase(item, token))
            return true;
    return false;
}

bool request_header_has(const struct request *r, const char *name, const char *token) {
    for (size_t i = 0; i < r->field_count; i++)
        if (slice_is_nocase(r->fields[i].name, name) && request_list_has(r->fields[i].value, token))
            return true;
    return false;
}
