/* hub_observe.c -- a look at a connection from another thread. See hub.h.
 *
 * By copies (base/memory_copy.h): nothing here is locked, and all of it may change meanwhile. */
#include "core/hub/hub_internal.h"

#include "base/memory_copy.h"

bool hub_observe_path(const struct hub *hub, conn_id id, char *path, size_t size) {
    struct conn conn;
    struct endpoint endpoint;
    const void *at = slots_observe(&hub->conns, id);
    if (at == NULL || !memory_copy(&conn, at, sizeof conn) || conn.id != id ||
        !memory_copy(&endpoint, conn.endpoint, sizeof endpoint) || endpoint.path == NULL)
        return false;
    for (size_t len = 0; len < size; len++) { /* it may end just before memory that is not there */
        if (!memory_copy(path + len, memory_at(endpoint.path, len), 1))
            return false;
        if (path[len] == '\0')
            return len > 0;
    }
    path[size - 1] = '\0';
    return true;
}
