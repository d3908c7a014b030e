/* admin_cluster.h -- the figures of the link to other machines on the admin address. All functions
 * accept NULL, where there is no cluster, and add nothing then. */
#ifndef TIDEWIRE_SERVER_ADMIN_CLUSTER_H
#define TIDEWIRE_SERVER_ADMIN_CLUSTER_H

#include "base/buffer.h"
#include "cluster/link/cluster_link.h"

/* Adds them in the text format of Prometheus. */
void admin_cluster_metrics(struct cluster_link *link, struct buffer *text);
/* Adds `"cluster":"up","cluster_published":…,` and so on for /stats. */
void admin_cluster_json(struct cluster_link *link, struct buffer *text);
/* For /readyz: "" without a cluster, " cluster=up", or " cluster=down" while a server is not
 * up. */
const char *admin_cluster_state(struct cluster_link *link);

/* A bus_figures_fn, for tw.stats(). `link` is a struct cluster_link. */
void admin_cluster_each(void *link, bus_figure_fn *add, void *context);

#endif
