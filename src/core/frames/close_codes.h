/* close_codes.h -- the codes of Close frames: those of RFC 6455 section 7.4.1, and ours. */
#ifndef TIDEWIRE_CORE_FRAMES_CLOSE_CODES_H
#define TIDEWIRE_CORE_FRAMES_CLOSE_CODES_H

#include <stdbool.h>

enum close_code {
    CLOSE_NORMAL = 1000,
    CLOSE_GOING_AWAY = 1001,
    CLOSE_PROTOCOL = 1002,
    CLOSE_RESERVED = 1004,  /* never sent: has no meaning */
    CLOSE_NO_STATUS = 1005, /* never sent: the other side's Close frame has no code */
    CLOSE_ABNORMAL = 1006,  /* never sent: the TCP connection ended without a Close frame */
    CLOSE_BAD_PAYLOAD = 1007,
    CLOSE_POLICY = 1008,
    CLOSE_TOO_BIG = 1009,
    CLOSE_SCRIPT_ERROR = 1011,
    CLOSE_RESTART = 1012,
    CLOSE_TRY_LATER = 1013,
    CLOSE_LAST_OF_PROTOCOL = 1014, /* the last with a meaning in the protocol */
    CLOSE_FIRST_REGISTERED = 3000, /* from here to 3999: for libraries and frameworks */
    CLOSE_FIRST_PRIVATE = 4000,    /* from here: for applications */
    CLOSE_TIMED_OUT = 4408,
    CLOSE_REPLACED = 4409, /* the client's session, or its user, has a newer connection */
    CLOSE_TOO_MANY = 4429, /* connections of one user */
    CLOSE_LAST = 4999
};

/* Bytes of the reason in a Close frame at most: a control frame has 125, the code takes 2 (RFC 6455
 * section 5.5). */
enum { CLOSE_REASON_MAX = 123 };

/* May a Close frame carry this code (RFC 6455 section 7.4)? */
static inline bool close_code_is_valid(long long code) {
    if (code > CLOSE_LAST_OF_PROTOCOL)
        return code >= CLOSE_FIRST_REGISTERED && code <= CLOSE_LAST;
    return code >= CLOSE_NORMAL && (code < CLOSE_RESERVED || code > CLOSE_ABNORMAL);
}

#endif
