/* admin_pools.h -- the figures of tw.pool on the admin address. */
#ifndef TIDEWIRE_SERVER_ADMIN_POOLS_H
#define TIDEWIRE_SERVER_ADMIN_POOLS_H

#include "base/buffer.h"
#include "script/pool/pools.h"

/* Adds them in the text format of Prometheus; nothing where no pool was made. */
void admin_pools_metrics(struct pools *pools, struct buffer *text);
/* Adds `"pools":{...},` for /stats. */
void admin_pools_json(struct pools *pools, struct buffer *text);

#endif
