/* meter.h -- what the server under load has spent, as the kernel counts it. */
#ifndef TIDEWIRE_BENCH_METER_H
#define TIDEWIRE_BENCH_METER_H

#include <stdint.h>

/* Nanoseconds on a CPU, of all threads of the server that live. */
uint64_t meter_cpu_ns(void);

/* Its resident memory. */
long meter_memory_bytes(void);

#endif
