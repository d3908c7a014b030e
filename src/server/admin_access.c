/* admin_access.c -- which requests the admin address answers. See admin_access.h. */
#include "server/admin_access.h"

#include "net/socket/ip.h"

#include <stdio.h>
#include <string.h>

/* ---- the host ---- */

enum { MAX_NAME = 253 }; /* RFC 1035 */

/* The host without its port, brackets and the dot of a full name. request.c has checked its form.
 */
static struct slice name_of(struct slice host) {
    bool has_bracket = host.len > 0 && host.bytes[0] == '[';
    const char *end = host.len == 0 ? NULL : memchr(host.bytes, has_bracket ? ']' : ':', host.len);
    if (end != NULL)
        host.len = (size_t)(end - host.bytes);
    if (has_bracket)
        slice_skip(&host, 1);
    if (host.len > 1 && host.bytes[host.len - 1] == '.')
        host.len--;
    return host;
}

static bool is_known(struct slice name, const struct app_texts *hosts) {
    struct ip ip;
    if (ip_parse(name, &ip) || slice_is_nocase(name, "localhost"))
        return true;
    for (size_t i = 0; i < hosts->count; i++) {
        if (strcmp(hosts->at[i], "*") == 0 || slice_is_nocase(name, hosts->at[i]))
            return true;
    }
    return false;
}

/* May it stand in the reason? */
static bool is_name(struct slice name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.bytes[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && c != '-' && c != '.' && c != '_')
            return false;
    }
    return name.len > 0 && name.len <= MAX_NAME;
}

static void explain(struct slice name, char *why) {
    if (!is_name(name))
        name = (struct slice){"NAME", 4};
    snprintf(why, ADMIN_ACCESS_BYTES,
             "The admin address answers to IP addresses, to localhost and to the names of the "
             "option admin_hosts: admin_hosts = { \"%.*s\" } adds this one.",
             (int)name.len, name.bytes);
}

/* ---- the page ---- */

/* Is the Origin the one of the host, by any scheme? */
static bool is_own_origin(struct slice origin, struct slice host) {
    const char *end = origin.len == 0 ? NULL : memchr(origin.bytes, ':', origin.len);
    size_t scheme = end == NULL ? 0 : (size_t)(end - origin.bytes);
    if (end == NULL || origin.len < scheme + 3 || memcmp(end, "://", 3) != 0)
        return false;
    slice_skip(&origin, scheme + 3);
    return origin.len > 0 && origin.len == host.len &&
           strncasecmp(origin.bytes, host.bytes, host.len) == 0;
}

/* "none": the user has typed the address. */
static bool is_own_site(struct slice site) {
    return slice_is(site, "same-origin") || slice_is(site, "none");
}

static bool is_other_page(const struct request *r) {
    size_t origins, sites;
    const struct slice *origin = request_header(r, "Origin", &origins);
    const struct slice *site = request_header(r, "Sec-Fetch-Site", &sites);
    if (origins > 1 || (origins == 1 && !is_own_origin(*origin, r->host)))
        return true;
    return sites > 1 || (sites == 1 && !is_own_site(*site));
}

enum admin_access admin_access_check(const struct request *r, const struct app_texts *hosts,
                                     bool over_unix, char *why) {
    struct slice name = name_of(r->host);
    /* a request without a host is no browser's */
    if (!over_unix && r->host.len > 0 && !is_known(name, hosts)) {
        explain(name, why);
        return ADMIN_ACCESS_OTHER_HOST;
    }
    if (!is_other_page(r))
        return ADMIN_ACCESS_GRANTED;
    snprintf(why, ADMIN_ACCESS_BYTES, "The admin address answers no page of another origin.");
    return ADMIN_ACCESS_OTHER_PAGE;
}
