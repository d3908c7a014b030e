/* resources.h -- what the process asks of the system: descriptors and memory. Main thread. */
#ifndef TIDEWIRE_SERVER_RESOURCES_H
#define TIDEWIRE_SERVER_RESOURCES_H

#include <stdint.h>

/* Raises the limit of open descriptors for so many connections; warns where it may not be raised
 * as far. */
void resources_raise_descriptors(uint32_t connections);
/* Before threads are started. */
void resources_tune_malloc(void);
/* An arena of malloc's for each worker. Before the second worker is started. */
void resources_allow_arenas(unsigned workers);

#endif
