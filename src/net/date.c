/* date.c -- the dates of HTTP headers. See date.h. */
#include "net/date.h"

#include <stdio.h>
#include <string.h>

static const char DAYS[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char MONTHS[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* The places of digits and names: "Sun, 06 Nov 1994 08:49:37 GMT". */
static const char FORM[] = "---, dd --- dddd dd:dd:dd GMT";

void date_format(time_t when, char out[DATE_BYTES]) {
    struct tm tm;
    if (gmtime_r(&when, &tm) == NULL || tm.tm_year < 1 - 1900 || tm.tm_year > 9999 - 1900)
        gmtime_r(&(time_t){0}, &tm); /* a clock or file time beyond all reason */
    char text[96];                   /* as the compiler reckons with any int */
    snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", DAYS[tm.tm_wday],
             tm.tm_mday, MONTHS[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, text, DATE_BYTES - 1);
    out[DATE_BYTES - 1] = '\0';
}

static int digits(const char *p, int count) {
    int value = 0;
    for (int i = 0; i < count; i++)
        value = value * 10 + (p[i] - '0');
    return value;
}

bool date_parse(struct slice text, time_t *when) {
    if (text.len != DATE_BYTES - 1)
        return false;
    const char *p = text.bytes;
    for (size_t i = 0; i < text.len; i++) {
        bool digit = p[i] >= '0' && p[i] <= '9';
        if (FORM[i] == 'd' ? !digit : FORM[i] != '-' && p[i] != FORM[i])
            return false;
    }
    int month = 0;
    while (month < 12 && memcmp(p + 8, MONTHS[month], 3) != 0)
        month++;
    struct tm tm = {.tm_mday = digits(p + 5, 2),
                    .tm_mon = month,
                    .tm_year = digits(p + 12, 4) - 1900,
                    .tm_hour = digits(p + 17, 2),
                    .tm_min = digits(p + 20, 2),
                    .tm_sec = digits(p + 23, 2)};
    /* A leap second, 60, is allowed by the grammar and counts as the next minute's first. */
    if (month == 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60)
        return false;
    *when = timegm(&tm);
    return true;
}
