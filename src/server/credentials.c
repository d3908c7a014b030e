/* credentials.c -- the certificate that an app asks for. See credentials.h. */
#include "server/credentials.h"

#include "base/clock.h"
#include "base/log/log.h"

#include <stdio.h>
#include <time.h>

enum { DAY_SECONDS = 24 * 60 * 60, SOON_DAYS = 14 };

/* Clients will not accept it, or soon not any more: NULL if neither. */
static const char *what_is_wrong(const struct certificate *certificate, int64_t now) {
    int64_t left = certificate_ends_at(certificate) - now;
    if (left < 0)
        return "it has expired: clients do not accept it";
    if (certificate_begins_at(certificate) > now)
        return "it does not hold yet: clients do not accept it";
    return left < SOON_DAYS * DAY_SECONDS
               ? "it expires soon: replace the files, and send SIGHUP to have them read"
               : NULL;
}

static void tell(const struct certificate *certificate) {
    const char *wrong = what_is_wrong(certificate, (int64_t)clock_wall_seconds());
    time_t ends_at = (time_t)certificate_ends_at(certificate);
    char text[32];
    struct tm tm;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&ends_at, &tm));
    struct log_line line;
    log_begin(&line, wrong == NULL ? LOG_INFO : LOG_WARN, "certificate");
    log_str(&line, "subject", certificate_subject(certificate));
    log_str(&line, "expires", text);
    if (wrong != NULL)
        log_str(&line, "why", wrong);
    log_end(&line);
}

bool credentials_activate(struct process *process, const struct app *app, char *error,
                          size_t error_size) {
    struct certificate *old = process->certificate, *certificate = NULL;
    if (app->certificate != NULL) {
        certificate = certificate_load(app->certificate, app->key, error, error_size);
        if (certificate == NULL)
            return false;
        tell(certificate);
    } else if (old != NULL) {
        log_event(LOG_WARN, "certificate",
                  "the app has no `tls` any more: new connections are in plain");
    }
    process->certificate = certificate;
    certificate_unref(old);
    return true;
}
