/* deflate_offer.c -- a client's offer of permessage-deflate, and our answer. See deflate_offer.h.
 */
#include "net/ws/deflate_offer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With a context kept, the largest window that a client may use if it lets us choose: it costs each
 * connection as many bytes. */
enum { CONTEXT_CLIENT_BITS = 12 };

/* ---- the grammar of RFC 6455 section 9.1 ---- */

static void skip_space(struct slice *rest) {
    while (rest->len > 0 && (*rest->bytes == ' ' || *rest->bytes == '\t'))
        slice_skip(rest, 1);
}

/* Takes this byte and the space around it. */
static bool take_byte(struct slice *rest, char byte) {
    skip_space(rest);
    if (rest->len == 0 || *rest->bytes != byte)
        return false;
    slice_skip(rest, 1);
    skip_space(rest);
    return true;
}

static bool take_token(struct slice *rest, struct slice *token) {
    *token = (struct slice){rest->bytes, 0};
    while (rest->len > 0 && request_token_byte((unsigned char)*rest->bytes)) {
        slice_skip(rest, 1);
        token->len++;
    }
    return token->len > 0;
}

/* The value of a parameter. Those with a meaning have two digits at most. */
struct value {
    size_t len;
    char start[4];
};

static void value_add(struct value *value, char byte) {
    if (value->len < sizeof value->start)
        value->start[value->len] = byte;
    value->len++;
}

/* A quoted string whose content is a token, behind its first quote. */
static bool take_quoted(struct slice *rest, struct value *value) {
    while (rest->len > 0 && *rest->bytes != '"') {
        if (*rest->bytes == '\\')
            slice_skip(rest, 1);
        if (rest->len == 0 || !request_token_byte((unsigned char)*rest->bytes))
            return false;
        value_add(value, *rest->bytes);
        slice_skip(rest, 1);
    }
    if (rest->len == 0)
        return false;
    slice_skip(rest, 1);
    return value->len > 0;
}

static bool take_value(struct slice *rest, struct value *value) {
    struct slice token;
    *value = (struct value){0};
    if (rest->len > 0 && *rest->bytes == '"') {
        slice_skip(rest, 1);
        return take_quoted(rest, value);
    }
    if (!take_token(rest, &token))
        return false;
    for (size_t i = 0; i < token.len; i++)
        value_add(value, token.bytes[i]);
    return true;
}

/* ---- the parameters of RFC 7692 section 7.1 ---- */

/* 8 to 15, without a leading zero; 0: something else. */
static uint8_t window_bits(const struct value *value) {
    const char *s = value->start;
    if (value->len == 1 && (s[0] == '8' || s[0] == '9'))
        return (uint8_t)(s[0] - '0');
    if (value->len == 2 && s[0] == '1' && s[1] >= '0' && s[1] <= '5')
        return (uint8_t)(10 + s[1] - '0');
    return 0;
}

/* Sets a flag that may be set once and has no value. */
static bool set_flag(bool *flag, const struct value *value) {
    bool is_good = !*flag && value == NULL;
    *flag = true;
    return is_good;
}

/* Notes a parameter; `value` is NULL if it has none. False: the offer is to be declined. */
static bool add_parameter(struct deflate_offer *offer, struct slice name,
                          const struct value *value) {
    if (slice_is(name, "server_no_context_takeover"))
        return set_flag(&offer->server_no_context, value);
    if (slice_is(name, "client_no_context_takeover"))
        return set_flag(&offer->client_no_context, value);
    if (slice_is(name, "server_max_window_bits")) {
        bool is_first = offer->server_bits == 0;
        offer->server_bits = value == NULL ? 0 : window_bits(value);
        /* zlib cannot compress with a window of 8 bits */
        return is_first && offer->server_bits >= COMPRESSION_ZLIB_BITS_MIN;
    }
    if (slice_is(name, "client_max_window_bits")) {
        offer->client_bits = value == NULL ? COMPRESSION_BITS_MAX : window_bits(value);
        bool is_first = !offer->client_may_be_told;
        offer->client_may_be_told = true;
        return is_first && offer->client_bits != 0;
    }
    return false;
}

/* Reads one extension with its parameters. False: it is malformed. */
static bool take_extension(struct slice *rest, struct deflate_offer *out) {
    struct deflate_offer offer = {.client_bits = COMPRESSION_BITS_MAX};
    struct slice name;
    if (!take_token(rest, &name))
        return false;
    offer.is_acceptable = slice_is(name, "permessage-deflate");
    while (take_byte(rest, ';')) {
        struct slice parameter;
        struct value value;
        if (!take_token(rest, &parameter))
            return false;
        bool has_value = take_byte(rest, '=');
        if (has_value && !take_value(rest, &value))
            return false;
        if (!add_parameter(&offer, parameter, has_value ? &value : NULL))
            offer.is_acceptable = false;
    }
    if (offer.is_acceptable && !out->is_acceptable)
        *out = offer;
    return true;
}

/* Reads one header. A list may have empty elements (RFC 9110 section 5.6.1.2). */
static bool read_list(struct slice rest, struct deflate_offer *out) {
    while (take_byte(&rest, ','))
        ;
    while (rest.len > 0) {
        if (!take_extension(&rest, out) || (rest.len > 0 && !take_byte(&rest, ',')))
            return false;
        while (take_byte(&rest, ','))
            ;
    }
    return true;
}

/* ---- Safari ---- */

/* The number behind `before`, and the one behind the next `separator`, in hundreds and ones: 1503
 * of "Version/15.3"; 0: there is none. */
static int version_behind(const char *text, const char *before, char separator) {
    const char *at = strstr(text, before);
    if (at == NULL)
        return 0;
    char *end;
    long major = strtol(at + strlen(before), &end, 10);
    long minor = *end == separator ? strtol(end + 1, NULL, 10) : 0;
    bool is_sound = major > 0 && major < 1000 && minor >= 0 && minor < 100;
    return is_sound ? (int)(major * 100 + minor) : 0;
}

/* Safari 15.0 to 15.3, and all browsers of iOS 15.0 to 15.3, which are made of it, fail on
 * compressed messages: they take client_no_context_takeover for something else, and lose messages
 * in fragments (uNetworking/uWebSockets issue 1347, gorilla/websocket issue 731). 13.1 fails too,
 * where its experimental implementation is switched on (coder/websocket issue 218); other versions
 * before 15 do not offer it. 15.4 works. */
static bool is_broken_safari(const struct request *request) {
    enum { FIRST_SOUND = 1504, LONGEST = 512 };
    const struct slice *agent = request_header(request, "User-Agent", NULL);
    char text[LONGEST];
    if (agent == NULL || agent->len >= sizeof text)
        return false;
    memcpy(text, agent->bytes, agent->len);
    text[agent->len] = '\0';
    if (strstr(text, "AppleWebKit/") == NULL || strstr(text, "Chrome/") != NULL ||
        strstr(text, "Android") != NULL)
        return false;
    int version = version_behind(text, " Version/", '.');
    if (version == 0) /* another browser of iOS, or an app that shows pages */
        version = version_behind(text, "iPhone OS ", '_');
    if (version == 0)
        version = version_behind(text, "CPU OS ", '_');
    return version > 0 && version < FIRST_SOUND;
}

/* ---- the offer and the answer ---- */

bool deflate_offer_read(const struct request *request, struct deflate_offer *out) {
    bool is_offered = false;
    *out = (struct deflate_offer){0};
    for (size_t i = 0; i < request->field_count; i++) {
        const struct request_field *field = &request->fields[i];
        if (!slice_is_nocase(field->name, "Sec-WebSocket-Extensions"))
            continue;
        if (!read_list(field->value, out))
            return false;
        is_offered = true;
    }
    if (is_offered && out->is_acceptable && is_broken_safari(request))
        out->is_acceptable = false;
    return true;
}

void deflate_offer_answer(const struct deflate_offer *offer, bool keeps_context,
                          bool keeps_server_context, struct compression *agreed,
                          char line[DEFLATE_OFFER_ANSWER_BYTES]) {
    char server_bits[32] = "", client_bits[32] = "";
    *agreed = (struct compression){
        .server_bits = offer->server_bits != 0 ? offer->server_bits : COMPRESSION_BITS_MAX,
        .client_bits = offer->client_bits,
        .server_context = keeps_context && keeps_server_context && !offer->server_no_context,
        .client_context = keeps_context && !offer->client_no_context,
    };
    if (agreed->client_context && offer->client_may_be_told &&
        agreed->client_bits > CONTEXT_CLIENT_BITS)
        agreed->client_bits = CONTEXT_CLIENT_BITS;
    if (offer->server_bits != 0)
        snprintf(server_bits, sizeof server_bits, "; server_max_window_bits=%u",
                 agreed->server_bits);
    if (agreed->client_context && offer->client_may_be_told)
        snprintf(client_bits, sizeof client_bits, "; client_max_window_bits=%u",
                 agreed->client_bits);
    snprintf(line, DEFLATE_OFFER_ANSWER_BYTES,
             "Sec-WebSocket-Extensions: permessage-deflate%s%s%s%s\r\n",
             agreed->server_context ? "" : "; server_no_context_takeover",
             agreed->client_context ? "" : "; client_no_context_takeover", server_bits,
             client_bits);
}
