/* resources.h -- the process's limits of descriptors, its settings of malloc, and its memory. Main
 * thread. */
#ifndef TIDEWIRE_SERVER_RESOURCES_H
#define TIDEWIRE_SERVER_RESOURCES_H

#include <stdint.h>

/* Raises the limit of open descriptors for so many connections; warns where the hard limit is
 * lower. */
void resources_raise_descriptors(uint32_t connections);
/* Lets libuv's small blocks never fail, as those of mem_alloc(): it uses them unchecked. Before any
 * other function of libuv. */
void resources_replace_uv_allocator(void);
/* Sets when malloc returns memory to the system. Before threads are started. */
void resources_tune_malloc(void);
/* Allows malloc an arena for each worker. Before the second worker is started. */
void resources_allow_arenas(unsigned workers);
/* Resident memory; 0 where it cannot be read. */
uint64_t resources_resident_bytes(void);

#endif
