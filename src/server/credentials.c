/* credentials.c -- reads the certificates of the app. See credentials.h. */
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

static void log_expiry(const char *event, const struct certificate *certificate, int64_t ends,
                       const char *fault) {
    time_t ends_at = (time_t)ends;
    char text[32];
    struct tm tm;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&ends_at, &tm));
    struct log_line line;
    log_begin(&line, fault == NULL ? LOG_INFO : LOG_WARN, event);
    log_str(&line, "subject", certificate_subject(certificate));
    if (ends != 0)
        log_str(&line, "expires", text);
    if (fault != NULL)
        log_str(&line, "why", fault);
    log_end(&line);
}

static void log_certificate(const struct certificate *certificate) {
    int64_t now = (int64_t)clock_wall_seconds();
    const struct ocsp *ocsp = certificate_ocsp(certificate);
    log_expiry("certificate", certificate, certificate_ends_at(certificate),
               fault_of(certificate, now));
    if (ocsp != NULL)
        log_expiry("ocsp_response", certificate, ocsp_ends_at(ocsp), ocsp_fault(ocsp, now));
}

bool credentials_activate(struct process *process, const struct app *app, char *error,
                          size_t error_size) {
    struct tls_server *old = process->tls, *tls = NULL;
    if (app->tls != NULL) {
        struct tls_problem problem;
        tls = tls_server_load(app->tls, process->tickets, &problem);
        if (tls == NULL) {
            snprintf(error, error_size, "tls.%s: %s", problem.option, problem.text);
            return false;
        }
        for (size_t i = 0; i < tls_server_certificates(tls); i++)
            log_certificate(tls_server_certificate(tls, i));
    } else if (old != NULL) {
        log_event(LOG_WARN, "certificate",
                  "the app has no `tls` any more: new connections are not encrypted");
    }
    process->tls = tls;
    tls_server_unref(old);
    return true;
}
