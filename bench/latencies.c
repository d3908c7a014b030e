/* latencies.c -- the latencies of a measurement, and their percentiles. See latencies.h. */
#include "latencies.h"

#include "load.h"

#include <stdbool.h>
#include <stdlib.h>

static struct {
    float *seconds;
    size_t count, capacity;
    bool sorted;
} latencies;

void latencies_add(double seconds) {
    if (latencies.count == latencies.capacity) {
        latencies.capacity = latencies.capacity > 0 ? 2 * latencies.capacity : 4096;
        latencies.seconds =
            realloc(latencies.seconds, latencies.capacity * sizeof *latencies.seconds);
        if (latencies.seconds == NULL)
            fail("no memory");
    }
    latencies.seconds[latencies.count++] = (float)seconds;
    latencies.sorted = false;
}

size_t latencies_count(void) {
    return latencies.count;
}

static int compare(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

double latencies_us(double part) {
    if (latencies.count == 0)
        return 0;
    if (!latencies.sorted)
        qsort(latencies.seconds, latencies.count, sizeof *latencies.seconds, compare);
    latencies.sorted = true;
    return (double)latencies.seconds[(size_t)((double)(latencies.count - 1) * part)] * 1e6;
}
