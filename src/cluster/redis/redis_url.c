/* redis_url.c -- parses the URL of a Redis server. See redis_url.h. */
#include "cluster/redis/redis_url.h"

#include "base/mem.h"
#include "base/slice.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_PORT = 6379, MAX_SECONDS = 3600 };

/* ---- pieces ---- */

/* Takes the piece up to the first of the bytes, or all. */
static struct slice take_until(struct slice *rest, const char *ends) {
    struct slice piece = {rest->bytes, 0};
    while (piece.len < rest->len && strchr(ends, rest->bytes[piece.len]) == NULL)
        piece.len++;
    slice_skip(rest, piece.len);
    return piece;
}

static bool starts_with(struct slice text, char byte) {
    return text.len > 0 && text.bytes[0] == byte;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The piece without percent-encoding; NULL: it has a "%" that encodes nothing, or a NUL. */
static char *decode(struct slice piece) {
    char *text = mem_alloc(piece.len + 1), *to = text;
    for (; piece.len > 0; slice_skip(&piece, 1)) {
        char c = piece.bytes[0];
        if (c == '%') {
            int high = piece.len > 2 ? hex_digit(piece.bytes[1]) : -1;
            int low = high >= 0 ? hex_digit(piece.bytes[2]) : -1;
            if (low < 0 || high * 16 + low == 0) {
                mem_free(text);
                return NULL;
            }
            c = (char)(high * 16 + low);
            slice_skip(&piece, 2);
        }
        *to++ = c;
    }
    *to = '\0';
    return text;
}

static bool fail_encoding(const struct error_text *error, const char *what) {
    return error_text_fail(error,
                           "the %s has a \"%%\" that does not begin two hexadecimal digits: write "
                           "it as %%25",
                           what);
}

/* Decodes the piece into *out, in place of an older text. Empty: NULL. */
static bool set_text(char **out, struct slice piece, const char *what,
                     const struct error_text *error) {
    char *text = piece.len == 0 ? NULL : decode(piece);
    if (text == NULL && piece.len > 0)
        return fail_encoding(error, what);
    mem_free(*out);
    *out = text;
    return true;
}

/* A number in decimal digits. */
static bool read_number(struct slice text, unsigned max, unsigned *out) {
    uint64_t number = 0;
    if (text.len == 0)
        return false;
    for (; text.len > 0; slice_skip(&text, 1)) {
        if (text.bytes[0] < '0' || text.bytes[0] > '9')
            return false;
        number = number * 10 + (uint64_t)(text.bytes[0] - '0');
        if (number > max)
            return false;
    }
    *out = (unsigned)number;
    return true;
}

/* ---- the query ---- */

static bool read_bool(const char *name, const char *value, bool *out,
                      const struct error_text *error) {
    bool yes =
        strcasecmp(value, "true") == 0 || strcasecmp(value, "yes") == 0 || strcmp(value, "1") == 0;
    if (!yes && strcasecmp(value, "false") != 0 && strcasecmp(value, "no") != 0 &&
        strcmp(value, "0") != 0)
        return error_text_fail(error, "%s must be true or false", name);
    *out = yes;
    return true;
}

static bool read_seconds(const char *name, const char *value, unsigned *out_ms,
                         const struct error_text *error) {
    char *end;
    double seconds = strtod(value, &end);
    if (end == value || *end != '\0' || !(seconds > 0 && seconds <= MAX_SECONDS))
        return error_text_fail(error, "%s must be a number of seconds from 0.001 to %d", name,
                               MAX_SECONDS);
    *out_ms = seconds < 0.001 ? 1 : (unsigned)(seconds * 1000);
    return true;
}

static bool read_database(struct slice value, struct redis_url *url,
                          const struct error_text *error) {
    return read_number(value, INT32_MAX, &url->database) ||
           error_text_fail(error, "the database must be a number, as in redis://host/0");
}

/* Options of redis-py that have a meaning for its objects alone. */
static bool is_without_effect(struct slice name) {
    static const char *const names[] = {"decode_responses", "encoding",
                                        "encoding_errors",  "max_connections",
                                        "retry_on_timeout", "health_check_interval",
                                        "socket_keepalive", "timeout"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_is(name, names[i]))
            return true;
    return false;
}

static bool set_certificate_check(const char *value, struct redis_url *url,
                                  const struct error_text *error) {
    if (strcasecmp(value, "none") == 0)
        url->verify = false;
    else if (strcasecmp(value, "required") == 0 || strcasecmp(value, "optional") == 0)
        url->verify = true;
    else
        return error_text_fail(error, "ssl_cert_reqs must be required or none");
    return true;
}

static bool set_protocol(const char *value, const struct error_text *error) {
    return strcmp(value, "2") == 0 ||
           error_text_fail(error, "the protocol that is spoken is RESP2: leave the option out");
}

static bool fail_unknown(struct slice name, const struct error_text *error) {
    return error_text_fail(
        error,
        "there is no option \"%.*s\"; there are db, username, password, client_name, "
        "socket_timeout, socket_connect_timeout, ssl_ca_certs, ssl_certfile, ssl_keyfile, "
        "ssl_password, ssl_cert_reqs and ssl_check_hostname",
        (int)(name.len < 40 ? name.len : 40), name.bytes);
}

/* An option that is a text of the URL; NULL: it is none. */
static char **text_option(struct slice name, struct redis_url *url) {
    const struct {
        const char *name;
        char **text;
    } texts[] = {
        {"username", &url->user},
        {"password", &url->password},
        {"client_name", &url->client_name},
        {"ssl_ca_certs", &url->ca},
        {"ssl_certfile", &url->certificate},
        {"ssl_keyfile", &url->key},
        {"ssl_password", &url->key_password},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (slice_is(name, texts[i].name))
            return texts[i].text;
    return NULL;
}

static bool read_option(struct slice name, struct slice encoded, struct redis_url *url,
                        const struct error_text *error) {
    char **text = text_option(name, url);
    if (text != NULL)
        return set_text(text, encoded, "option", error);
    if (is_without_effect(name))
        return true;
    char *value = decode(encoded);
    bool good;
    if (value == NULL)
        good = fail_encoding(error, "option");
    else if (slice_is(name, "db"))
        good = read_database(slice_of(value), url, error);
    else if (slice_is(name, "protocol"))
        good = set_protocol(value, error);
    else if (slice_is(name, "ssl_cert_reqs"))
        good = set_certificate_check(value, url, error);
    else if (slice_is(name, "ssl_check_hostname"))
        good = read_bool("ssl_check_hostname", value, &url->check_host, error);
    else if (slice_is(name, "socket_timeout"))
        good = read_seconds("socket_timeout", value, &url->timeout_ms, error);
    else if (slice_is(name, "socket_connect_timeout"))
        good = read_seconds("socket_connect_timeout", value, &url->connect_timeout_ms, error);
    else
        good = fail_unknown(name, error);
    mem_free(value);
    return good;
}

static bool read_query(struct slice query, struct redis_url *url, const struct error_text *error) {
    while (query.len > 0) {
        struct slice value = take_until(&query, "&");
        struct slice name = take_until(&value, "=");
        if (value.len > 0)
            slice_skip(&value, 1);
        if (query.len > 0)
            slice_skip(&query, 1);
        if (name.len > 0 && !read_option(name, value, url, error))
            return false;
    }
    return true;
}

/* ---- the rest ---- */

/* Takes the scheme. */
static bool read_scheme(struct slice *rest, struct redis_url *url, const struct error_text *error) {
    static const struct {
        const char *scheme;
        bool tls, is_unix;
    } schemes[] = {
        {"redis://", false, false},       {"valkey://", false, false},
        {"rediss://", true, false},       {"valkeys://", true, false},
        {"redis+unix://", false, true},   {"valkey+unix://", false, true},
        {"redis+socket://", false, true}, {"redis-socket://", false, true},
        {"unix://", false, true},         {"unix:", false, true},
    };
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t len = strlen(schemes[i].scheme);
        if (rest->len < len || strncasecmp(rest->bytes, schemes[i].scheme, len) != 0)
            continue;
        slice_skip(rest, len);
        url->tls = schemes[i].tls;
        url->is_unix = schemes[i].is_unix;
        return true;
    }
    return error_text_fail(error, "it must begin with redis:// or rediss:// (TLS), or be "
                                  "redis+unix:///path/of/socket");
}

/* Takes "USER:PASSWORD@" from the place's beginning. */
static bool read_user(struct slice *place, struct redis_url *url, const struct error_text *error) {
    const char *at = place->len == 0 ? NULL : memrchr(place->bytes, '@', place->len);
    if (at == NULL)
        return true;
    struct slice secret = {place->bytes, (size_t)(at - place->bytes)};
    slice_skip(place, secret.len + 1);
    struct slice user = take_until(&secret, ":");
    if (secret.len > 0)
        slice_skip(&secret, 1);
    return set_text(&url->user, user, "user", error) &&
           set_text(&url->password, secret, "password", error);
}

/* A host of letters, digits and the like, or an IPv6 address. */
static bool is_host(const char *host, bool in_brackets) {
    if (*host == '\0')
        return false;
    for (; *host != '\0'; host++) {
        unsigned char c = (unsigned char)*host;
        if (c <= ' ' || c == 0x7f || strchr("/?#@[]\\\"<>", c) != NULL ||
            (c == ':' && !in_brackets))
            return false;
    }
    return true;
}

static bool read_host(struct slice place, struct redis_url *url, const struct error_text *error) {
    struct slice host = place;
    bool in_brackets = starts_with(place, '[');
    if (in_brackets) {
        slice_skip(&place, 1);
        host = take_until(&place, "]");
        if (place.len == 0)
            return error_text_fail(error, "the bracket of the IPv6 address is not closed");
        slice_skip(&place, 1);
        if (place.len > 0 && place.bytes[0] != ':')
            return error_text_fail(error, "a port must follow the bracket, as in [::1]:6379");
    } else {
        host = take_until(&place, ":");
        if (place.len > 1 && memchr(place.bytes + 1, ':', place.len - 1) != NULL)
            return error_text_fail(error, "an IPv6 address stands in brackets, as in [::1]:6379");
    }
    url->port = DEFAULT_PORT;
    if (place.len > 1) { /* "host:" has none, RFC 3986 section 3.2.3 */
        slice_skip(&place, 1);
        if (!read_number(place, 65535, &url->port) || url->port == 0)
            return error_text_fail(error, "the port must be a number from 1 to 65535");
    }
    if (host.len == 0 && !in_brackets)
        host = slice_of("localhost");
    if (!set_text(&url->host, host, "host", error))
        return false;
    if (url->host == NULL || !is_host(url->host, in_brackets))
        return error_text_fail(error, "the host is not a name or an address");
    return true;
}

/* "HOST:PORT/DATABASE" */
static bool read_place(struct slice rest, struct redis_url *url, const struct error_text *error) {
    struct slice place = take_until(&rest, "/");
    if (!read_user(&place, url, error) || !read_host(place, url, error))
        return false;
    if (rest.len > 0)
        slice_skip(&rest, 1);
    if (rest.len > 0 && rest.bytes[rest.len - 1] == '/')
        rest.len--;
    return rest.len == 0 || read_database(rest, url, error);
}

/* "/PATH" */
static bool read_path(struct slice rest, struct redis_url *url, const struct error_text *error) {
    struct slice place = take_until(&rest, "/");
    if (!read_user(&place, url, error))
        return false;
    if (place.len > 0)
        return error_text_fail(error, "the path of the socket must be absolute, as in "
                                      "redis+unix:///run/redis/redis.sock");
    if (rest.len < 2)
        return error_text_fail(error, "the path of the socket is missing, as in "
                                      "redis+unix:///run/redis/redis.sock");
    return set_text(&url->host, rest, "path", error);
}

static char *name_of(const struct redis_url *url) {
    char *name = NULL;
    bool v6 = strchr(url->host, ':') != NULL;
    int len = url->is_unix ? asprintf(&name, "redis+unix://%s", url->host)
                           : asprintf(&name, "%s://%s%s%s:%u", url->tls ? "rediss" : "redis",
                                      v6 ? "[" : "", url->host, v6 ? "]" : "", url->port);
    char *result = mem_strdup(len < 0 ? "redis" : name);
    free(name);
    if (url->database == 0)
        return result;
    char database[16];
    snprintf(database, sizeof database, url->is_unix ? "?db=%u" : "/%u", url->database);
    char *both = mem_concat(result, database);
    mem_free(result);
    return both;
}

bool redis_url_parse(const char *text, struct redis_url *url, const struct error_text *error) {
    *url = (struct redis_url){.verify = true, .check_host = true};
    struct slice rest = slice_of(text);
    if (!read_scheme(&rest, url, error))
        return false;
    for (size_t i = 0; i < rest.len; i++)
        if ((unsigned char)rest.bytes[i] <= ' ' || rest.bytes[i] == 0x7f)
            return error_text_fail(error, "it has a blank or a control character, which must be "
                                          "percent-encoded");
    struct slice place = take_until(&rest, "?#"), query = rest;
    bool good = url->is_unix ? read_path(place, url, error) : read_place(place, url, error);
    if (query.len > 0)
        slice_skip(&query, 1);
    /* Such a query may be a part of a password, which no sentence and no name may have. */
    bool is_cut = starts_with(rest, '#') || memrchr(query.bytes, '@', query.len) != NULL ||
                  (!good && url->password == NULL && strchr(text, '@') != NULL);
    if (is_cut)
        return error_text_fail(error, "a \"#\", \"/\", \"?\" or \"@\" in a user, a password or an "
                                      "option must be percent-encoded: %%23, %%2F, %%3F, %%40");
    if (!good || !read_query(query, url, error))
        return false;
    if (url->user != NULL && url->password == NULL)
        return error_text_fail(error,
                               "it has a user and no password; where Redis has a password and no "
                               "user, it is redis://:PASSWORD@host");
    url->name = name_of(url);
    return true;
}

struct redis_url redis_url_copy(const struct redis_url *url) {
    struct redis_url copy = *url;
    copy.name = mem_strdup(url->name);
    copy.host = mem_strdup(url->host);
    copy.user = mem_strdup(url->user);
    copy.password = mem_strdup(url->password);
    copy.client_name = mem_strdup(url->client_name);
    copy.ca = mem_strdup(url->ca);
    copy.certificate = mem_strdup(url->certificate);
    copy.key = mem_strdup(url->key);
    copy.key_password = mem_strdup(url->key_password);
    return copy;
}

void redis_url_close(struct redis_url *url) {
    if (url->password != NULL)
        explicit_bzero(url->password, strlen(url->password));
    mem_free(url->name);
    mem_free(url->host);
    mem_free(url->user);
    mem_free(url->password);
    mem_free(url->client_name);
    mem_free(url->ca);
    mem_free(url->certificate);
    mem_free(url->key);
    mem_free(url->key_password);
    *url = (struct redis_url){0};
}
