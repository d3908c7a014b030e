/* url.c -- parses the URL of a WebSocket. See url.h. */
#include "net/client/url.h"

#include "base/mem.h"
#include "net/http/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool fail(char *error, size_t size, const char *why) {
    snprintf(error, size, "%s", why);
    return false;
}

/* Takes the scheme off. False: it is another one. */
static bool read_scheme(const char **text, struct url *url) {
    static const struct {
        const char *scheme;
        bool secure, is_unix;
    } schemes[] = {
        {"ws://", false, false},   {"wss://", true, false}, {"http://", false, false},
        {"https://", true, false}, {"unix:", false, true},  {"ws+unix:", false, true},
    };
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t len = strlen(schemes[i].scheme);
        if (strncasecmp(*text, schemes[i].scheme, len) != 0) /* RFC 3986 section 3.1 */
            continue;
        *text += len;
        url->secure = schemes[i].secure;
        url->is_unix = schemes[i].is_unix;
        return true;
    }
    return strstr(*text, "://") == NULL;
}

/* Has it only bytes that a request line may have? */
static bool is_clean(const char *text) {
    for (; *text != '\0'; text++)
        if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7f || *text == '#')
            return false;
    return true;
}

static char *target_of(const char *rest) {
    if (*rest == '/')
        return mem_strdup(rest);
    char *target = mem_alloc(strlen(rest) + 2);
    target[0] = '/';
    strcpy(target + 1, rest);
    return target;
}

static bool read_port(const char *port, size_t len, struct url *url) {
    if (len == 0 || len > 5 || strspn(port, "0123456789") < len)
        return false;
    snprintf(url->port, sizeof url->port, "%.*s", (int)len, port);
    int number = atoi(url->port);
    return number >= 1 && number <= 65535;
}

static bool read_host(const char *text, size_t len, struct url *url, char *error, size_t size) {
    const char *end = text + len, *host = text, *colon = memchr(text, ':', len);
    size_t host_len = colon == NULL ? len : (size_t)(colon - text);
    if (memchr(text, '@', len) != NULL)
        return fail(error, size,
                    "a name and a password cannot stand in it: use the header Authorization");
    if (*text == '[') {
        const char *bracket = memchr(text, ']', len);
        if (bracket == NULL)
            return fail(error, size, "the bracket of the IPv6 address is not closed");
        host = text + 1;
        host_len = (size_t)(bracket - host);
        colon = bracket + 1 < end ? bracket + 1 : NULL;
        if (colon != NULL && *colon != ':')
            return fail(error, size, "a port must follow the bracket, as in [::1]:8080");
    }
    snprintf(url->port, sizeof url->port, "%s", url->secure ? "443" : "80");
    if (colon != NULL && !read_port(colon + 1, (size_t)(end - colon) - 1, url))
        return fail(error, size, "the port must be a number from 1 to 65535");
    url->host = host_len == 0 ? mem_strdup("127.0.0.1") : mem_strndup(host, host_len);
    url->authority = host_len == 0 ? mem_alloc(len + sizeof "127.0.0.1") : mem_strndup(text, len);
    if (host_len == 0)
        sprintf(url->authority, "127.0.0.1%.*s", (int)len, text);
    if (!request_is_host(slice_of(url->authority)))
        return fail(error, size, "the host is not a name or an address");
    return true;
}

bool url_parse(const char *text, struct url *url, char *error, size_t error_size) {
    *url = (struct url){0};
    if (!read_scheme(&text, url))
        return fail(error, error_size, "it must begin with ws:// or wss://");
    for (const char *at = text; !url->is_unix && *at != '\0' && strchr("/?#", *at) == NULL; at++)
        if ((unsigned char)*at >= 0x80)
            return fail(error, error_size,
                        "the host has letters beyond ASCII: write it as xn--… (Punycode)");
    if (!is_clean(text))
        return fail(error, error_size,
                    "it has a blank, a \"#\" or another character that must be percent-encoded");
    if (url->is_unix) {
        const char *colon = strchr(text, ':');
        url->host = mem_strndup(text, colon == NULL ? strlen(text) : (size_t)(colon - text));
        url->authority = mem_strdup("localhost");
        url->target = target_of(colon == NULL ? "" : colon + 1);
        return *url->host != '\0' || fail(error, error_size, "the path of the socket is missing");
    }
    size_t len = strcspn(text, "/?");
    if (len == 0)
        return fail(error, error_size, "the host is missing, as in ws://127.0.0.1:8080/");
    url->target = target_of(text + len);
    return read_host(text, len, url, error, error_size);
}

void url_close(struct url *url) {
    mem_free(url->host);
    mem_free(url->authority);
    mem_free(url->target);
    *url = (struct url){0};
}
