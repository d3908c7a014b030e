/* date.c -- the dates of HTTP headers. See date.h. */
#include "net/http/date.h"

#include <stdio.h>
#include <string.h>

static const char *const DAYS[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};
static const char MONTHS[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* The three forms. Letters stand for: W the day's name, d the day of the month, B the month's name,
 * Y the year, h, m, s the time, _ a digit or a space. Other bytes stand for themselves. */
static const char *const FORMS[] = {
    "WWW, dd BBB YYYY hh:mm:ss GMT",
    "W, dd-BBB-YY hh:mm:ss GMT", /* one W: the full name */
    "WWW BBB _d hh:mm:ss YYYY",
};

void date_format(time_t when, char out[DATE_BYTES]) {
    struct tm tm;
    if (gmtime_r(&when, &tm) == NULL || tm.tm_year < 1 - 1900 || tm.tm_year > 9999 - 1900)
        gmtime_r(&(time_t){0}, &tm); /* a year without four digits */
    char text[96];                   /* room for any int, which the compiler checks */
    snprintf(text, sizeof(text), "%.3s, %02d %s %04d %02d:%02d:%02d GMT", DAYS[tm.tm_wday],
             tm.tm_mday, MONTHS[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, text, DATE_BYTES - 1);
    out[DATE_BYTES - 1] = '\0';
}

/* Takes the name of a day off the front: the full name, or its first three letters. */
static bool take_day(struct slice *text, bool whole) {
    for (int i = 0; i < 7; i++) {
        size_t len = whole ? strlen(DAYS[i]) : 3;
        if (text->len >= len && memcmp(text->bytes, DAYS[i], len) == 0) {
            slice_skip(text, len);
            return true;
        }
    }
    return false;
}

static bool take_month(struct slice *text, int *month) {
    for (int i = 0; i < 12; i++) {
        if (text->len >= 3 && memcmp(text->bytes, MONTHS[i], 3) == 0) {
            slice_skip(text, 3);
            *month = i;
            return true;
        }
    }
    return false;
}

static int *field_of(struct tm *tm, char letter) {
    switch (letter) {
    case '_':
    case 'd':
        return &tm->tm_mday;
    case 'Y':
        return &tm->tm_year;
    case 'h':
        return &tm->tm_hour;
    case 'm':
        return &tm->tm_min;
    case 's':
        return &tm->tm_sec;
    default:
        return NULL;
    }
}

/* Takes one byte of the text by one letter of the form. */
static bool take_byte(struct slice *text, char letter, struct tm *tm) {
    if (text->len == 0)
        return false;
    char c = text->bytes[0];
    slice_skip(text, 1);
    int *field = field_of(tm, letter);
    if (field == NULL || (letter == '_' && c == ' '))
        return field != NULL || c == letter;
    *field = *field * 10 + (c - '0');
    return c >= '0' && c <= '9';
}

/* Has the text this form? `tm` gets its fields, the year as it is written. */
static bool read_form(struct slice text, const char *form, struct tm *tm) {
    *tm = (struct tm){0};
    for (; *form != '\0'; form++) {
        bool good = true;
        if (*form == 'W') {
            good = take_day(&text, form[1] != 'W');
            form += form[1] == 'W' ? 2 : 0;
        } else if (*form == 'B') {
            good = take_month(&text, &tm->tm_mon);
            form += 2;
        } else {
            good = take_byte(&text, *form, tm);
        }
        if (!good)
            return false;
    }
    return text.len == 0;
}

static bool is_leap(int year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* A year of two digits (RFC 9110 §5.6.7). */
static int whole_year(int two_digits) {
    time_t now = time(NULL);
    struct tm tm;
    int this_year = gmtime_r(&now, &tm) == NULL ? 1970 : tm.tm_year + 1900;
    int year = this_year - this_year % 100 + two_digits;
    return year > this_year + 50 ? year - 100 : year;
}

bool date_parse(struct slice text, time_t *when) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct tm tm;
    int form = 0;
    while (form < 3 && !read_form(text, FORMS[form], &tm))
        form++;
    if (form == 3)
        return false;
    int year = form == 1 ? whole_year(tm.tm_year) : tm.tm_year;
    int last = days[tm.tm_mon] + (tm.tm_mon == 1 && is_leap(year));
    /* A leap second, 60, is allowed by the grammar and counts as the next minute's first. */
    if (tm.tm_mday < 1 || tm.tm_mday > last || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    tm.tm_year = year - 1900;
    *when = timegm(&tm);
    return true;
}
