/* latencies.h -- the latencies of a measurement, and their percentiles. */
#ifndef TIDEWIRE_BENCH_LATENCIES_H
#define TIDEWIRE_BENCH_LATENCIES_H

#include <stddef.h>

/* Keeps one more. */
void latencies_add(double seconds);

size_t latencies_count(void);

/* The latency in microseconds below which so many of them are: 0.99, or 1 for the longest. 0 where
 * there is none. */
double latencies_us(double part);

#endif
