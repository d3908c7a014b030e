/* admin_access.h -- which requests the admin address answers.
 *
 * A page in a browser on the operator's machine can send requests to the admin address, too. Two
 * checks keep it out: the host of the request must be an address or a known name, so that no name
 * of a stranger's that leads to the address counts ("DNS rebinding"), and the request must not come
 * from a page of another origin. Pure functions; any thread. */
#ifndef TIDEWIRE_SERVER_ADMIN_ACCESS_H
#define TIDEWIRE_SERVER_ADMIN_ACCESS_H

#include "net/http/request.h"
#include "script/vm/app.h"

enum { ADMIN_ACCESS_BYTES = 512 }; /* enough for each reason of admin_access_check() */

enum admin_access {
    ADMIN_ACCESS_GRANTED,
    ADMIN_ACCESS_OTHER_HOST, /* `why` says how to allow it */
    ADMIN_ACCESS_OTHER_PAGE,
};

/* `hosts`: the names of the option `admin_hosts`, "*" for all. `over_unix`: the request came over a
 * Unix socket, which no page can reach: its host may be any. `why`, of ADMIN_ACCESS_BYTES, gets the
 * reason of a refusal. */
enum admin_access admin_access_check(const struct request *r, const struct app_texts *hosts,
                                     bool over_unix, char *why);

#endif
