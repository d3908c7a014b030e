/* meter.h -- the CPU time and the memory of the server under load, as the kernel counts them. */
#ifndef TIDEWIRE_BENCH_METER_H
#define TIDEWIRE_BENCH_METER_H

#include <stdint.h>

/* Nanoseconds on a CPU, of all running threads of the server. */
uint64_t meter_cpu_ns(void);

/* Its resident memory. */
long meter_memory_bytes(void);

#endif
