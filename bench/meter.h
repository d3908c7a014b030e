/* meter.h -- CPU time, memory and open files of the server under load, as the kernel counts them.
 */
#ifndef TIDEWIRE_BENCH_METER_H
#define TIDEWIRE_BENCH_METER_H

#include <stdint.h>

/* Nanoseconds on a CPU, of all running threads of the server. */
uint64_t meter_cpu_ns(void);

/* Its resident memory. */
long meter_memory_bytes(void);

/* Its open files; cheap on Linux 6.2 and later, elsewhere they are counted one by one. */
long meter_open_files(void);

#endif
