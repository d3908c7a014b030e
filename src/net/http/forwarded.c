/* forwarded.c -- the client of a request, as the proxies before this server name it. See
 * forwarded.h.
 *
 * A trusted proxy has written the rightmost element. The element before it is as good as the
 * address in it: where that is a trusted proxy's too, that proxy has written it. */
#include "net/http/forwarded.h"

#include <string.h>

/* Trusted proxies in a row at most: clients decide how long the list is. */
enum { MAX_HOPS = 64 };

/* Bytes of a host at most: a name (RFC 1035), a colon and a port. */
enum { MAX_HOST = 253 + 6 };

/* ---- parts of a list ---- */

bool forwarded_take_last(struct slice *list, struct slice *item) {
    do {
        if (list->len == 0)
            return false;
        bool quoted = false;
        size_t start = list->len;
        while (start > 0 && (quoted || list->bytes[start - 1] != ',')) {
            quoted ^= list->bytes[start - 1] == '"';
            start--;
        }
        *item = slice_trim((struct slice){list->bytes + start, list->len - start});
        list->len = start == 0 ? 0 : start - 1;
    } while (item->len == 0);
    return true;
}

/* A port, or an obfuscated one (RFC 7239 section 6). */
static bool is_port(struct slice text) {
    if (text.len > 1 && text.bytes[0] == '_') {
        for (size_t i = 1; i < text.len; i++) {
            if (!request_token_byte((unsigned char)text.bytes[i]))
                return false;
        }
        return true;
    }
    return text.len <= 5 && request_decimal(text) >= 0 && request_decimal(text) <= 65535;
}

bool forwarded_parse_node(struct slice node, struct ip *out) {
    if (ip_parse(node, out))
        return true;
    const char *end = node.len == 0 ? NULL : memchr(node.bytes, ':', node.len);
    bool has_bracket = node.len > 0 && node.bytes[0] == '[';
    if (has_bracket)
        end = memchr(node.bytes, ']', node.len);
    if (end == NULL)
        return false;
    struct slice address = {node.bytes, (size_t)(end - node.bytes)};
    struct slice rest = node;
    slice_skip(&rest, address.len + has_bracket);
    if (has_bracket)
        slice_skip(&address, 1);
    if (rest.len > 0 &&
        (rest.bytes[0] != ':' || !is_port((struct slice){rest.bytes + 1, rest.len - 1})))
        return false;
    bool has_colon = address.len > 0 && memchr(address.bytes, ':', address.len) != NULL;
    return has_colon == has_bracket && ip_parse(address, out);
}

/* Takes the value of a parameter, a token or a quoted string, off the front. Leaves what follows.
 * Values without quotes may have the colons and brackets of an address, as some proxies write it.
 */
static bool take_value(struct slice *text, struct slice *value) {
    size_t len = 0;
    bool quoted = text->len > 0 && text->bytes[0] == '"';
    if (quoted)
        slice_skip(text, 1);
    value->bytes = text->bytes;
    while (len < text->len && text->bytes[len] != '"' &&
           (quoted || (text->bytes[len] != ';' && text->bytes[len] != ' '))) {
        if (text->bytes[len] == '\\')
            return false; /* nothing in an address, a scheme or a host needs it */
        len++;
    }
    value->len = len;
    slice_skip(text, len);
    if (!quoted)
        return len > 0 && (text->len == 0 || text->bytes[0] != '"');
    if (text->len == 0)
        return false;
    slice_skip(text, 1);
    return true;
}

static bool take_pair(struct slice *text, struct forwarded_element *out) {
    const char *equals = memchr(text->bytes, '=', text->len);
    if (equals == NULL)
        return false;
    struct slice name = {text->bytes, (size_t)(equals - text->bytes)}, value;
    slice_skip(text, name.len + 1);
    if (!request_is_token(name) || !take_value(text, &value))
        return false;
    struct slice *field = slice_is_nocase(name, "for")     ? &out->node
                          : slice_is_nocase(name, "proto") ? &out->proto
                          : slice_is_nocase(name, "host")  ? &out->host
                                                           : NULL;
    if (field == NULL)
        return true;
    bool is_first = field->bytes == NULL;
    *field = value;
    return is_first;
}

bool forwarded_parse_element(struct slice text, struct forwarded_element *out) {
    *out = (struct forwarded_element){.node = {NULL, 0}};
    for (text = slice_trim(text); text.len > 0; text = slice_trim(text)) {
        if (text.bytes[0] != ';' && !take_pair(&text, out))
            return false;
        text = slice_trim(text);
        if (text.len > 0 && text.bytes[0] != ';')
            return false;
        if (text.len > 0)
            slice_skip(&text, 1);
    }
    return true;
}

/* ---- all headers of a name, from the last to the first ---- */

struct backwards {
    const struct request *request;
    const char *name;
    size_t next; /* fields before this one are left */
    struct slice rest;
};

static bool take_last(struct backwards *at, struct slice *item) {
    while (!forwarded_take_last(&at->rest, item)) {
        do {
            if (at->next == 0)
                return false;
            at->next--;
        } while (!slice_is_nocase(at->request->fields[at->next].name, at->name));
        at->rest = at->request->fields[at->next].value;
    }
    return true;
}

static struct backwards backwards(const struct request *r, const char *name) {
    return (struct backwards){.request = r, .name = name, .next = r->field_count};
}

/* ---- the client ---- */

static void set_scheme(struct slice scheme, struct forwarded *out) {
    bool secure = slice_is_nocase(scheme, "https") || slice_is_nocase(scheme, "wss");
    if (!secure && !slice_is_nocase(scheme, "http") && !slice_is_nocase(scheme, "ws"))
        return; /* it says nothing */
    out->has_scheme = true;
    out->secure = secure;
}

static void set_host(struct slice host, struct forwarded *out) {
    if (host.len <= MAX_HOST && request_is_host(host))
        out->host = host;
}

/* Takes the address of an element. True: it is a trusted proxy's, so the element before it counts
 * too. */
static bool take_client(struct slice node, const struct trusted_proxies *proxies,
                        struct forwarded *out) {
    struct ip ip;
    if (slice_is(node, "unix:")) /* nginx's name of a peer of its Unix socket */
        return trusted_proxies_has_peer(proxies, "unix");
    if (!forwarded_parse_node(node, &ip))
        return false;
    out->has_client = true;
    out->client = ip;
    return trusted_proxies_has(proxies, &ip);
}

/* The element of X-Forwarded-Proto or -Host that belongs to the `hops`-th of X-Forwarded-For, from
 * the right; the first one where there are fewer: not every proxy appends. */
static struct slice matching(const struct request *r, const char *name, unsigned hops) {
    struct backwards at = backwards(r, name);
    struct slice item, found = {NULL, 0};
    for (unsigned i = 0; i < (hops == 0 ? 1 : hops) && take_last(&at, &item); i++)
        found = item;
    return found;
}

static void read_x(const struct request *r, const struct trusted_proxies *proxies,
                   struct forwarded *out) {
    struct backwards at = backwards(r, "X-Forwarded-For");
    struct slice node;
    unsigned hops = 0;
    while (hops < MAX_HOPS && take_last(&at, &node)) {
        hops++;
        if (!take_client(node, proxies, out))
            break;
    }
    if (!out->has_scheme)
        set_scheme(matching(r, "X-Forwarded-Proto", hops), out);
    if (out->host.len == 0)
        set_host(matching(r, "X-Forwarded-Host", hops), out);
}

static void read_rfc7239(const struct request *r, const struct trusted_proxies *proxies,
                         struct forwarded *out) {
    struct backwards at = backwards(r, "Forwarded");
    struct slice item;
    struct forwarded_element element;
    for (unsigned hops = 0; hops < MAX_HOPS && take_last(&at, &item); hops++) {
        if (!forwarded_parse_element(item, &element))
            break;
        set_scheme(element.proto, out);
        set_host(element.host, out);
        if (!take_client(element.node, proxies, out))
            break;
    }
}

void forwarded_read(const struct request *r, const struct trusted_proxies *proxies,
                    enum forwarded_header header, struct forwarded *out) {
    *out = (struct forwarded){.has_client = false};
    bool has_x = request_header(r, "X-Forwarded-For", NULL) != NULL;
    if (header == FORWARDED_RFC7239 || (header == FORWARDED_EITHER && !has_x))
        read_rfc7239(r, proxies, out);
    if (header != FORWARDED_RFC7239) /* beside Forwarded: for what that does not say */
        read_x(r, proxies, out);
}
