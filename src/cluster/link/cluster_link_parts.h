/* cluster_link_parts.h -- what the files of the link share; no other folder includes it. */
#ifndef TIDEWIRE_CLUSTER_LINK_CLUSTER_LINK_PARTS_H
#define TIDEWIRE_CLUSTER_LINK_CLUSTER_LINK_PARTS_H

#include "cluster/node/node.h"
#include "core/bus/bus.h"

/* cluster_link_bus.c: what a node does to this bus. */
struct node_bus cluster_link_bus(struct bus *bus);

#endif
