/* redis_channels.h -- the channels that a machine wants from one Redis server (SSUBSCRIBE).
 *
 * Changes are gathered and sent in batches, each with the channels of one hash tag, so of one slot.
 * The set outlives connections. One thread. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_CHANNELS_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_CHANNELS_H

#include "base/list.h"
#include "base/table.h"
#include "cluster/redis/redis_connection.h"

enum { REDIS_CHANNELS_OF_A_BATCH = 512 };

struct redis_channels {
    struct table table;
    struct list all, changed;
    uint32_t awaited; /* answers to SSUBSCRIBE that have not come */
    uint32_t leaving; /* the same of SUNSUBSCRIBE */
};

void redis_channels_init(struct redis_channels *channels);
void redis_channels_close(struct redis_channels *channels);

void redis_channels_add(struct redis_channels *channels, struct slice name);
void redis_channels_remove(struct redis_channels *channels, struct slice name);
/* The connection is lost: all channels must be subscribed anew. */
void redis_channels_lost(struct redis_channels *channels);
/* Sends what has changed. */
void redis_channels_send(struct redis_channels *channels, struct redis_connection *connection);
/* Are all channels subscribed? */
bool redis_channels_settled(const struct redis_channels *channels);
/* An answer to SSUBSCRIBE has come. True: the channel is subscribed now. */
bool redis_channels_subscribed(struct redis_channels *channels, struct slice name);
/* An answer to SUNSUBSCRIBE has come. False: none was awaited. */
bool redis_channels_unsubscribed(struct redis_channels *channels);

#endif
