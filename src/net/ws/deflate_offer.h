/* deflate_offer.h -- a client's offer of permessage-deflate, and our answer (RFC 7692 section 7.1).
 *
 * Pure functions on a parsed request; any thread. */
#ifndef TIDEWIRE_NET_WS_DEFLATE_OFFER_H
#define TIDEWIRE_NET_WS_DEFLATE_OFFER_H

#include "core/frames/compression.h"
#include "net/http/request.h"

/* The first offer of a handshake that we can accept. */
struct deflate_offer {
    bool is_acceptable; /* there is one; else the rest has no meaning */
    bool server_no_context, client_no_context;
    uint8_t server_bits; /* server_max_window_bits; 0: not offered */
    bool client_may_be_told;
    uint8_t client_bits; /* client_max_window_bits; 15: without a value */
};

/* Reads Sec-WebSocket-Extensions. Offers of other extensions, and offers of this one with unknown,
 * repeated or wrong parameters, are passed over. So are all offers of Safari before 15.4, whose
 * implementation is broken. False: the header does not conform to the grammar of RFC 6455 section
 * 9.1, by which the handshake must fail. */
bool deflate_offer_read(const struct request *request, struct deflate_offer *out);

/* The answer to an acceptable offer. `keeps_context`: on both sides, where the client agrees;
 * `keeps_server_context`: on ours, too. `line` gets the line of the response, with its CRLF. */
enum { DEFLATE_OFFER_ANSWER_BYTES = 192 };
void deflate_offer_answer(const struct deflate_offer *offer, bool keeps_context,
                          bool keeps_server_context, struct compression *agreed,
                          char line[DEFLATE_OFFER_ANSWER_BYTES]);

#endif
