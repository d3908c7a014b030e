/* presence.h -- a change of a watched room: a connection has joined or left, or has another user.
 *
 * In a user's room it says that the user has come online, with the first connection, or gone
 * offline, with the last one. A plain value, whose texts are borrowed. */
#ifndef TIDEWIRE_CORE_BUS_PRESENCE_H
#define TIDEWIRE_CORE_BUS_PRESENCE_H

#include "base/conn_id.h"
#include "base/slice.h"

enum presence_change { PRESENCE_LEFT, PRESENCE_JOINED, PRESENCE_OTHER_USER };

struct presence {
    enum presence_change change;
    conn_id id;
    struct slice room, user;          /* user: no bytes: the connection has none */
    const char *endpoint_name, *info; /* as JSON; info: NULL: none */
    const char *remote_id;            /* of a connection of another machine, its text; else NULL */
};

#endif
