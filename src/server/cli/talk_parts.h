/* talk_parts.h -- what the files of `tidewire talk` share. Private to talk*.c. */
#ifndef TIDEWIRE_SERVER_CLI_TALK_PARTS_H
#define TIDEWIRE_SERVER_CLI_TALK_PARTS_H

#include "base/mem.h"
#include "net/client/client_socket.h"
#include "server/settings.h"

#include <string.h>

enum { TALK_CONNECT_MS = 10000 }; /* for TCP and TLS, and then once more for the handshake */

/* ---- bytes that are added behind and taken off in front ---- */

struct bytes {
    char *data; /* freed by the owner */
    size_t from, len, capacity;
};

static inline char *bytes_at(const struct bytes *bytes) {
    return bytes->data + bytes->from;
}

/* Room for so many more; `len` is the caller's to raise. */
static inline void *bytes_room(struct bytes *bytes, size_t more) {
    if (bytes->from > 0 && bytes->from >= bytes->len) {
        memcpy(bytes->data, bytes_at(bytes), bytes->len);
        bytes->from = 0;
    }
    size_t wanted = bytes->from + bytes->len + more;
    if (wanted > bytes->capacity) {
        bytes->capacity = wanted * 2;
        bytes->data = mem_realloc(bytes->data, bytes->capacity);
    }
    return bytes_at(bytes) + bytes->len;
}

static inline void bytes_add(struct bytes *bytes, const void *data, size_t len) {
    void *room = bytes_room(bytes, len);
    if (len > 0)
        memcpy(room, data, len);
    bytes->len += len;
}

static inline void bytes_drop(struct bytes *bytes, size_t len) {
    bytes->from += len;
    bytes->len -= len;
}

/* ---- the beginning ---- */

/* Says on stderr why there is no connection. Returns EXIT_FAILED. */
int talk_complain(const struct settings *settings, const char *why);

/* Opens the WebSocket. What came behind the answer is put into `rest`. Returns EXIT_CLEAN, or the
 * exit code after it was said why there is none. */
int talk_open(const struct settings *settings, struct client_socket *server, const struct url *url,
              struct bytes *rest);

#endif
