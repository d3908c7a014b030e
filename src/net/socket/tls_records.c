/* tls_records.c -- a server's TLS connection after its handshake. See tls_records.h.
 *
 * TLS 1.3: RFC 8446, sections 4.6.3 (KeyUpdate), 5 (records), 6 (alerts). TLS 1.2: RFC 5246. */
#include "net/socket/tls_records.h"

#include "base/mem.h"
#include "net/socket/tls_keys.h"

#include <openssl/ssl.h>
#include <string.h>

/* After so many records AES-GCM wants new keys (RFC 8446 section 5.5: 2^24.5). */
static const uint64_t max_records = UINT64_C(1) << 24;

enum { KEY_UPDATE = 24, KEY_UPDATE_BYTES = 5, WARNING = 1, FATAL = 2 };

struct tls_records {
    struct tls_keys *in_keys, *out_keys;
    struct tls_out *out;
    struct tls_budget *budget;
    const char *failure;
    uint8_t *partial; /* the beginning of a record whose rest has not come; NULL: none */
    uint16_t partial_len;
    uint16_t max_data; /* bytes of data in a record of ours */
    bool is_tls13;
    bool ended;            /* the peer has sent close_notify */
    bool out_ended;        /* we have */
    uint8_t handshake_len; /* of `handshake`: the beginning of a KeyUpdate */
    uint8_t handshake[KEY_UPDATE_BYTES];
};

struct tls_records *tls_records_new(struct ssl_st *ssl, const struct tls_secrets *secrets,
                                    struct tls_out *out, struct tls_budget *budget) {
    struct tls_keys *in_keys, *out_keys;
    if (SSL_has_pending(ssl) || !tls_keys_derive(ssl, secrets, &in_keys, &out_keys))
        return NULL;
    struct tls_records *records = mem_zalloc(sizeof *records);
    records->in_keys = in_keys;
    records->out_keys = out_keys;
    records->out = out;
    records->budget = budget;
    records->is_tls13 = SSL_version(ssl) == TLS1_3_VERSION;
    /* max_fragment_length (RFC 6066 section 4): 1 is 512 bytes, 4 is 4096 */
    unsigned fragment = SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl));
    records->max_data =
        fragment >= 1 && fragment <= 4 ? (uint16_t)(256 << fragment) : TLS_PLAIN_BYTES;
    return records;
}

void tls_records_free(struct tls_records *records) {
    if (records == NULL)
        return;
    tls_keys_free(records->in_keys);
    tls_keys_free(records->out_keys);
    mem_free(records->partial);
    mem_free(records);
}

bool tls_records_ended(const struct tls_records *records) {
    return records->ended;
}

const char *tls_records_failure(const struct tls_records *records) {
    return records->failure;
}

/* ---- out ---- */

static void send_record(struct tls_records *records, uint8_t type, const void *bytes, size_t len) {
    uint8_t record[TLS_PLAIN_BYTES + TLS_OVERHEAD_BYTES];
    size_t n = tls_keys_encrypt(records->out_keys, type, bytes, len, record);
    if (n == 0)
        records->failure = "OpenSSL could not encrypt the data";
    else
        tls_out_write(records->out, record, n);
}

static void send_alert(struct tls_records *records, uint8_t level, uint8_t alert) {
    uint8_t bytes[] = {level, alert};
    if (!records->out_ended)
        send_record(records, TLS_RECORD_ALERT, bytes, sizeof bytes);
}

static void fail(struct tls_records *records, uint8_t alert, const char *why) {
    if (records->failure != NULL)
        return;
    send_alert(records, FATAL, alert);
    records->failure = why;
}

static void update_out_keys(struct tls_records *records) {
    static const uint8_t update[KEY_UPDATE_BYTES] = {KEY_UPDATE, 0, 0, 1, 0};
    send_record(records, TLS_RECORD_HANDSHAKE, update, sizeof update);
    if (!tls_keys_update(records->out_keys))
        records->failure = "there are no new keys";
}

size_t tls_records_write(struct tls_records *records, const uint8_t *bytes, size_t len) {
    size_t taken = 0;
    if (records->is_tls13 && tls_keys_count(records->out_keys) >= max_records)
        update_out_keys(records);
    while (taken < len && records->failure == NULL && records->out->bytes == NULL) {
        size_t n = len - taken < records->max_data ? len - taken : records->max_data;
        send_record(records, TLS_RECORD_DATA, bytes + taken, n);
        taken += n;
    }
    return taken;
}

void tls_records_end(struct tls_records *records) {
    send_alert(records, WARNING, TLS_ALERT_CLOSE_NOTIFY);
    records->out_ended = true;
}

/* ---- in ---- */

static bool spend(struct tls_records *records) {
    if (tls_budget_take(records->budget))
        return true;
    fail(records, TLS_ALERT_UNEXPECTED_MESSAGE, "the peer sends too many records without data");
    return false;
}

static void on_alert(struct tls_records *records, const uint8_t *bytes, size_t len) {
    if (len != 2) {
        fail(records, TLS_ALERT_DECODE_ERROR, "bad alert");
    } else if (bytes[1] == TLS_ALERT_CLOSE_NOTIFY) {
        records->ended = true;
    } else if (bytes[1] == TLS_ALERT_USER_CANCELED || (!records->is_tls13 && bytes[0] == WARNING)) {
        spend(records);
    } else {
        records->out_ended = true; /* no alert answers an alert */
        fail(records, 0, SSL_alert_desc_string_long(bytes[1]));
    }
}

/* The only handshake message that a client may send now. It may come in parts, but nothing may
 * stand behind it: the keys change there (section 5.1). */
static void on_key_update(struct tls_records *records, const uint8_t *bytes, size_t len) {
    static const uint8_t start[] = {KEY_UPDATE, 0, 0, 1};
    if (len == 0 || records->handshake_len + len > KEY_UPDATE_BYTES) {
        fail(records, TLS_ALERT_UNEXPECTED_MESSAGE, "unexpected handshake message");
        return;
    }
    memcpy(records->handshake + records->handshake_len, bytes, len);
    records->handshake_len += (uint8_t)len;
    size_t known = records->handshake_len < sizeof start ? records->handshake_len : sizeof start;
    if (memcmp(records->handshake, start, known) != 0) {
        fail(records, TLS_ALERT_UNEXPECTED_MESSAGE, "unexpected handshake message");
        return;
    }
    if (!spend(records) || records->handshake_len < KEY_UPDATE_BYTES)
        return;
    uint8_t requested = records->handshake[KEY_UPDATE_BYTES - 1];
    records->handshake_len = 0;
    if (requested > 1) {
        fail(records, TLS_ALERT_ILLEGAL_PARAMETER, "bad key update");
        return;
    }
    if (!tls_keys_update(records->in_keys))
        fail(records, TLS_ALERT_INTERNAL_ERROR, "there are no new keys");
    else if (requested == 1 && !records->out_ended)
        update_out_keys(records);
}

static void on_handshake(struct tls_records *records, const uint8_t *bytes, size_t len) {
    if (records->is_tls13)
        on_key_update(records, bytes, len);
    else if (spend(records)) /* the beginning of another handshake, which the peer may not need */
        send_alert(records, WARNING, TLS_ALERT_NO_RENEGOTIATION);
}

static const char *reason_of(int alert) {
    switch (alert) {
    case TLS_ALERT_BAD_RECORD_MAC:
        return "decryption failed or bad record mac";
    case TLS_ALERT_RECORD_OVERFLOW:
        return "a record is too long";
    default:
        return "unexpected record";
    }
}

/* Returns how many bytes of data the record had. */
static size_t on_record(struct tls_records *records, const uint8_t *record, size_t len,
                        uint8_t *out) {
    size_t n = 0;
    int type = tls_keys_decrypt(records->in_keys, record, len, out, &n);
    if (type < 0) {
        fail(records, (uint8_t)-type, reason_of(-type));
        return 0;
    }
    if (records->handshake_len > 0 && type != TLS_RECORD_HANDSHAKE) {
        fail(records, TLS_ALERT_UNEXPECTED_MESSAGE, "unexpected record");
    } else if (type == TLS_RECORD_DATA) {
        tls_budget_earn(records->budget, n);
        return n > 0 || spend(records) ? n : 0;
    } else if (type == TLS_RECORD_ALERT) {
        on_alert(records, out, n);
    } else if (type == TLS_RECORD_HANDSHAKE) {
        on_handshake(records, out, n);
    } else {
        fail(records, TLS_ALERT_UNEXPECTED_MESSAGE, "unexpected record");
    }
    return 0;
}

static bool is_open(const struct tls_records *records) {
    return !records->ended && records->failure == NULL;
}

/* Is the header that of a record? */
static bool check_header(struct tls_records *records, const uint8_t *header) {
    if (header[1] != 3)
        fail(records, TLS_ALERT_UNEXPECTED_MESSAGE, "unexpected record");
    else if (tls_keys_record_length(header) > TLS_PLAIN_BYTES + TLS_OVERHEAD_BYTES)
        fail(records, TLS_ALERT_RECORD_OVERFLOW, "a record is too long");
    return records->failure == NULL;
}

/* Keeps bytes of a record that is not whole; no more than have come, so that a peer that begins
 * records takes no more memory than it has sent. Returns how many it took. */
static size_t keep(struct tls_records *records, const uint8_t *bytes, size_t len) {
    size_t have = records->partial_len, wanted = TLS_HEADER_BYTES;
    if (have >= TLS_HEADER_BYTES)
        wanted = tls_keys_record_length(records->partial);
    size_t n = len < wanted - have ? len : wanted - have;
    records->partial = mem_realloc(records->partial, have + n);
    memcpy(records->partial + have, bytes, n);
    records->partial_len += (uint16_t)n;
    return n;
}

/* Adds bytes to the partial record, and decrypts it when it is whole. Returns how many bytes it
 * took. */
static size_t add_to_partial(struct tls_records *records, const uint8_t *bytes, size_t len,
                             uint8_t *out, size_t *got) {
    size_t n = keep(records, bytes, len);
    if (records->partial_len == TLS_HEADER_BYTES && !check_header(records, records->partial))
        return n;
    if (records->partial_len < TLS_HEADER_BYTES ||
        records->partial_len < tls_keys_record_length(records->partial))
        return n;
    *got += on_record(records, records->partial, records->partial_len, out + *got);
    mem_free(records->partial);
    records->partial = NULL;
    records->partial_len = 0;
    return n;
}

size_t tls_records_receive(struct tls_records *records, const uint8_t *bytes, size_t len,
                           uint8_t *out) {
    size_t got = 0, used = 0;
    while (used < len && is_open(records)) {
        const uint8_t *at = bytes + used;
        size_t rest = len - used;
        if (records->partial != NULL || rest < TLS_HEADER_BYTES ||
            rest < tls_keys_record_length(at)) {
            used += add_to_partial(records, at, rest, out, &got);
        } else if (check_header(records, at)) {
            size_t whole = tls_keys_record_length(at);
            got += on_record(records, at, whole, out + got);
            used += whole;
        }
    }
    return got;
}
