/* credentials.c -- reads the certificate of the app. See credentials.h. */
#include "server/credentials.h"

#include "base/clock.h"
#include "base/log/log.h"

#include <stdio.h>
#include <time.h>

enum { DAY_SECONDS = 24 * 60 * 60, SOON_DAYS = 14 };

/* Why clients do not accept it, or soon will not; NULL: they accept it. */
static const char *fault_of(const struct certificate *certificate, int64_t now) {
    int64_t left = certificate_ends_at(certificate) - now;
    if (left < 0)
        return "it has expired: clients do not accept it";
    if (certificate_begins_at(certificate) > now)
        return "it is not valid yet: clients do not accept it";
    return left < SOON_DAYS * DAY_SECONDS
               ? "it expires soon: replace the files, and send SIGHUP to load them"
               : NULL;
}

static void log_certificate(const struct certificate *certificate) {
    const char *fault = fault_of(certificate, (int64_t)clock_wall_seconds());
    time_t ends_at = (time_t)certificate_ends_at(certificate);
    char text[32];
    struct tm tm;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&ends_at, &tm));
    struct log_line line;
    log_begin(&line, fault == NULL ? LOG_INFO : LOG_WARN, "certificate");
    log_str(&line, "subject", certificate_subject(certificate));
    log_str(&line, "expires", text);
    if (fault != NULL)
        log_str(&line, "why", fault);
    log_end(&line);
}

bool credentials_activate(struct process *process, const struct app *app, char *error,
                          size_t error_size) {
    struct certificate *old = process->certificate, *certificate = NULL;
    if (app->certificate != NULL) {
        certificate = certificate_load(app->certificate, app->key, error, error_size);
        if (certificate == NULL)
            return false;
        log_certificate(certificate);
    } else if (old != NULL) {
        log_event(LOG_WARN, "certificate",
                  "the app has no `tls` any more: new connections are not encrypted");
    }
    process->certificate = certificate;
    certificate_unref(old);
    return true;
}
