/* hub_compress.c -- permessage-deflate (RFC 7692): messages are compressed before they enter a
 * queue, and decompressed before they reach a hook.
 *
 * Usually neither side keeps its window from one message to the next: all connections of the worker
 * share zlib's streams, and all receivers of a broadcast its compressed form (twin.h). Where an
 * endpoint keeps contexts, a connection has streams of its own. What leaves such a stream must
 * reach the client, or later messages would refer to bytes that the client has not seen: a message
 * that is not queued, or may be replaced in the queue, begins the context anew or stays plain. */
#include "core/hub/hub_internal.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "core/frames/compressor.h"
#include "core/frames/decompressor.h"
#include "core/frames/twin.h"

/* The streams of a connection whose contexts are kept; NULL: not on this side. */
struct conn_contexts {
    struct compressor *compressor;
    struct decompressor *decompressor;
};

void hub_use_compression(struct conn *conn, const struct compression *agreed) {
    conn->compresses = conn->is_special = true;
    conn->window_bits = agreed->server_bits;
    if (!agreed->server_context && !agreed->client_context)
        return;
    conn->contexts = mem_zalloc(sizeof *conn->contexts);
    if (agreed->server_context)
        conn->contexts->compressor =
            compressor_new(agreed->server_bits, conn->endpoint->compress_level);
    if (agreed->client_context)
        conn->contexts->decompressor = decompressor_new(agreed->client_bits, true);
}

bool hub_is_compressed(const struct conn *conn) {
    return conn->compresses;
}

void hub_compress_forget(struct conn *conn) {
    if (conn->contexts == NULL)
        return;
    compressor_free(conn->contexts->compressor);
    decompressor_free(conn->contexts->decompressor);
    mem_free(conn->contexts);
    conn->contexts = NULL;
}

/* The stream that compresses with a context, or NULL. */
static struct compressor *own_compressor(const struct conn *conn) {
    return conn->contexts == NULL ? NULL : conn->contexts->compressor;
}

/* ---- out ---- */

static struct compressor_pool *pool_of(struct hub *hub) {
    if (hub->compressors == NULL)
        hub->compressors = compressor_pool_new();
    return hub->compressors;
}

static void count_run(struct hub *hub, size_t before, size_t after) {
    stats_add(&hub->stats.compressions, 1);
    stats_add(&hub->stats.compression_bytes_in, before);
    stats_add(&hub->stats.compression_bytes_out, after);
}

static size_t payload_size(const struct message *message) {
    return message_payload(message).len;
}

struct message *hub_compress_payload(struct hub *hub, struct conn *conn, enum opcode opcode,
                                     const void *payload, size_t len, struct slice key) {
    const struct endpoint *endpoint = conn->endpoint;
    if (len < endpoint->compress_min || len == 0)
        return NULL;
    struct compressor *own = own_compressor(conn);
    struct message *message =
        own != NULL ? compressor_run(own, opcode, payload, len)
                    : compressor_pool_run(pool_of(hub), conn->window_bits, endpoint->compress_level,
                                          opcode, payload, len, key);
    count_run(hub, len, message == NULL ? len : payload_size(message));
    return message;
}

/* The same for a connection with a context. */
static struct message *form_of_context(struct hub *hub, struct conn *conn,
                                       struct message *message) {
    static const struct slice no_key = {NULL, 0};
    struct slice payload = message_payload(message);
    bool may_be_replaced =
        message->key_len > 0 && conn->endpoint->slow_client == SLOW_CLIENT_CONFLATE;
    struct message *form = may_be_replaced
                               ? NULL
                               : hub_compress_payload(hub, conn, message_opcode(message),
                                                      payload.bytes, payload.len, no_key);
    return form == NULL ? message_ref(message) : form;
}

struct message *hub_compress_form(struct hub *hub, struct conn *conn, struct message *message) {
    const struct endpoint *endpoint = conn->endpoint;
    size_t len = payload_size(message);
    if (message->stays_plain || len < endpoint->compress_min || len == 0)
        return ref_cache_take(&hub->ref_cache, message);
    if (own_compressor(conn) != NULL)
        return form_of_context(hub, conn, message);
    bool made;
    struct message *form =
        twin_of(message, pool_of(hub), conn->window_bits, endpoint->compress_level, &made);
    if (made)
        count_run(hub, len, payload_size(form));
    return ref_cache_take(&hub->ref_cache, form);
}

void hub_compress_done(struct hub *hub, struct conn *conn, bool queued) {
    if (queued)
        stats_add(&hub->stats.compressed_messages_sent, 1);
    else if (own_compressor(conn) != NULL)
        compressor_reset(own_compressor(conn));
}

/* ---- in ---- */

static struct decompressor *decompressor_of(struct hub *hub, struct conn *conn) {
    if (conn->contexts != NULL && conn->contexts->decompressor != NULL)
        return conn->contexts->decompressor;
    if (hub->decompressor == NULL)
        hub->decompressor = decompressor_new(COMPRESSION_BITS_MAX, false);
    return hub->decompressor;
}

static bool fail(struct hub *hub, struct conn *conn, unsigned code, const char *why) {
    hub_fail(hub, conn, code, why);
    return false;
}

bool hub_received_compressed(struct hub *hub, struct conn *conn, const char *bytes, size_t len,
                             bool binary) {
    char *message;
    size_t message_len;
    if (conn->state != CONN_OPEN || conn->endpoint == NULL)
        return true; /* it is not looked at, as of hub_received() */
    stats_add(&hub->stats.compressed_messages_received, 1);
    stats_add(&hub->stats.compressed_bytes_received, len);
    switch (decompressor_run(decompressor_of(hub, conn), bytes, len,
                             conn->endpoint->max_message_size, &message, &message_len)) {
    case DECOMPRESSOR_TOO_BIG:
        return fail(hub, conn, CLOSE_TOO_BIG, "message too big");
    case DECOMPRESSOR_NO_MEMORY:
        return fail(hub, conn, CLOSE_TRY_LATER, "the server has no memory for this message");
    case DECOMPRESSOR_INVALID:
        return fail(hub, conn, CLOSE_BAD_PAYLOAD, "compressed message is invalid");
    case DECOMPRESSOR_OK:
        break;
    }
    stats_add(&hub->stats.decompressed_bytes_received, message_len);
    bool is_good = binary || utf8_valid(message, message_len);
    if (is_good)
        hub_received_cold(hub, conn, message, message_len, binary);
    mem_free(message);
    return is_good || fail(hub, conn, CLOSE_BAD_PAYLOAD, "text is not valid UTF-8");
}
