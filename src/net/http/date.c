/* date.c -- the dates of HTTP headers. See date.h. */
#include "net/http/date.h"

#include <locale.h>
#include <stdio.h>

/* The forms, for strptime(3) and strftime(3); the first is the one that is written. The asctime
 * form has a day of two digits or of a blank and a digit. */
static const char *const FORMS[] = {
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %e %H:%M:%S %Y",
    "%a %b %d %H:%M:%S %Y",
};
enum { FORM_COUNT = sizeof FORMS / sizeof FORMS[0], FORM_OF_TWO_DIGITS = 1 };

/* Scripts may change the locale of the process. The C library has this one as a constant. */
static locale_t c_locale(void) {
    return newlocale(LC_ALL_MASK, "C", NULL);
}

void date_format(time_t when, char out[DATE_BYTES]) {
    struct tm tm;
    if (gmtime_r(&when, &tm) == NULL || tm.tm_year < 1000 - 1900 || tm.tm_year > 9999 - 1900)
        gmtime_r(&(time_t){0}, &tm); /* a year without four digits */
    strftime_l(out, DATE_BYTES, FORMS[0], &tm, c_locale());
}

/* Has the text this form? strptime() is lenient about blanks, digits and letters, so the result is
 * written again and compared. */
static bool read_form(const char *text, const char *form, struct tm *tm) {
    char again[64];
    *tm = (struct tm){0};
    return strptime_l(text, form, tm, c_locale()) != NULL &&
           strftime_l(again, sizeof again, form, tm, c_locale()) > 0 && strcmp(text, again) == 0;
}

/* A year of two digits (RFC 9110 §5.6.7). */
static int whole_year(int two_digits) {
    time_t now = time(NULL);
    struct tm tm;
    int this_year = gmtime_r(&now, &tm) == NULL ? 1970 : tm.tm_year + 1900;
    int year = this_year - this_year % 100 + two_digits;
    return year > this_year + 50 ? year - 100 : year;
}

/* Has its month this day? strptime() allows 31 days in each. */
static bool day_exists(const struct tm *tm) {
    struct tm day = {.tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday};
    timegm(&day);
    return day.tm_mday == tm->tm_mday;
}

bool date_parse(struct slice text, time_t *when) {
    char copy[64];
    struct tm tm;
    int form = 0;
    snprintf(copy, sizeof copy, "%.*s", (int)text.len, text.bytes);
    while (form < FORM_COUNT && !read_form(copy, FORMS[form], &tm))
        form++;
    if (form == FORM_COUNT)
        return false;
    if (form == FORM_OF_TWO_DIGITS)
        tm.tm_year = whole_year(tm.tm_year % 100) - 1900;
    /* A leap second, 60, is allowed by the grammar and counts as the next minute's first. */
    if (!day_exists(&tm) || tm.tm_sec > 60 || tm.tm_year < 1000 - 1900)
        return false;
    *when = timegm(&tm);
    return true;
}
