/* app_tls.h -- the options of TLS, as plain C values of the table that app_tls.lua has made. */
#ifndef TIDEWIRE_SCRIPT_VM_APP_TLS_H
#define TIDEWIRE_SCRIPT_VM_APP_TLS_H

#include "core/http/tls_options.h"

#include <lua.h>

/* Of the table at `index`, a positive one. NULL: it is no table. The caller frees the result. */
struct tls_options *app_tls_read(lua_State *L, int index);
void app_tls_free(struct tls_options *options); /* accepts NULL */

#endif
