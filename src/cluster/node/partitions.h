/* partitions.h -- the partition of a room, the server of a partition, and the names of keys and
 * channels.
 *
 * A room belongs to one of 128 partitions, by a hash of its name. All keys and channels of a
 * partition have its number as their hash tag: "tw:{17}:c:lobby". Every machine computes the same,
 * so hash and names are part of the protocol between machines. Pure functions, any thread. */
#ifndef TIDEWIRE_CLUSTER_NODE_PARTITIONS_H
#define TIDEWIRE_CLUSTER_NODE_PARTITIONS_H

#include "base/buffer.h"
#include "base/slice.h"

#include <stdbool.h>

enum { PARTITIONS = 128 };

/* The partition of a room, or of anything else that has a name. */
unsigned partitions_of(struct slice name);

/* The server of a partition, by jump hash: when a server is added, only the partitions move that it
 * gets. */
unsigned partitions_server(unsigned partition, unsigned servers);

/* Replaces the buffer's bytes by "PREFIX:{PARTITION}:KIND:NAME", without ":NAME" when the name has
 * no bytes. Returns a view of them. */
struct slice partitions_key(struct buffer *buffer, struct slice prefix, unsigned partition,
                            const char *kind, struct slice name);

/* Replaces the buffer's bytes by "PREFIX:KIND:NAME", as partitions_key(): for what belongs to no
 * partition. */
struct slice partitions_common_key(struct buffer *buffer, struct slice prefix, const char *kind,
                                   struct slice name);

/* The room of a channel "PREFIX:{PARTITION}:c:NAME". False: it is another channel. */
bool partitions_room_of(struct slice channel, struct slice prefix, struct slice *room);

#endif
