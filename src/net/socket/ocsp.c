/* ocsp.c -- OCSP stapling from a file. See ocsp.h. */
#include "net/socket/ocsp.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <string.h>
#include <time.h>

enum { MAX_FILE_BYTES = 64 * 1024 };

struct ocsp {
    uint8_t *bytes;
    size_t len;
    int64_t begins_at, ends_at; /* ends_at 0: not said */
    int status;                 /* V_OCSP_CERTSTATUS_… */
};

static bool read_file(struct ocsp *ocsp, const char *file, const struct error_text *problem) {
    FILE *in = fopen(file, "re");
    if (in == NULL)
        return error_text_fail(problem, "cannot read %s: %s", file, strerror(errno));
    ocsp->bytes = mem_alloc(MAX_FILE_BYTES);
    ocsp->len = fread(ocsp->bytes, 1, MAX_FILE_BYTES, in);
    int reason = errno;
    bool failed = ferror(in) != 0;
    fclose(in);
    if (failed)
        return error_text_fail(problem, "cannot read %s: %s", file, strerror(reason));
    return ocsp->len > 0 || error_text_fail(problem, "cannot read %s: it is empty", file);
}

static int64_t seconds_of(const ASN1_GENERALIZEDTIME *time) {
    struct tm tm;
    return time != NULL && ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* Finds what the response says about the certificate. */
static bool find(struct ocsp *ocsp, OCSP_BASICRESP *basic, const X509 *certificate) {
    const ASN1_INTEGER *wanted = X509_get0_serialNumber(certificate);
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        ASN1_INTEGER *serial = NULL;
        OCSP_id_get0_info(NULL, NULL, NULL, &serial,
                          (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single));
        if (serial == NULL || ASN1_INTEGER_cmp(serial, wanted) != 0)
            continue;
        ASN1_GENERALIZEDTIME *begins = NULL, *ends = NULL;
        ocsp->status = OCSP_single_get0_status(single, NULL, NULL, &begins, &ends);
        ocsp->begins_at = seconds_of(begins);
        ocsp->ends_at = seconds_of(ends);
        return true;
    }
    return false;
}

static bool parse(struct ocsp *ocsp, const char *file, const X509 *certificate,
                  const struct error_text *problem) {
    const unsigned char *at = ocsp->bytes;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)ocsp->len);
    if (response == NULL || at != ocsp->bytes + ocsp->len) {
        OCSP_RESPONSE_free(response);
        return error_text_fail(problem,
                               "%s has no OCSP response in DER, as `openssl ocsp -respout` "
                               "writes it",
                               file);
    }
    int status = OCSP_response_status(response);
    OCSP_BASICRESP *basic =
        status == OCSP_RESPONSE_STATUS_SUCCESSFUL ? OCSP_response_get1_basic(response) : NULL;
    bool good = true;
    if (basic == NULL)
        good = error_text_fail(problem, "%s is a refusal of the OCSP server: %s", file,
                               OCSP_response_status_str(status));
    else if (!find(ocsp, basic, certificate))
        good = error_text_fail(problem, "%s is about another certificate", file);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return good;
}

struct ocsp *ocsp_load(const char *file, const struct x509_st *certificate,
                       const struct error_text *problem) {
    struct ocsp *ocsp = mem_zalloc(sizeof *ocsp);
    bool good = read_file(ocsp, file, problem) && parse(ocsp, file, certificate, problem);
    ERR_clear_error();
    if (good)
        return ocsp;
    ocsp_free(ocsp);
    return NULL;
}

void ocsp_free(struct ocsp *ocsp) {
    if (ocsp == NULL)
        return;
    mem_free(ocsp->bytes);
    mem_free(ocsp);
}

int64_t ocsp_ends_at(const struct ocsp *ocsp) {
    return ocsp->ends_at;
}

const char *ocsp_fault(const struct ocsp *ocsp, int64_t now) {
    if (ocsp->ends_at != 0 && ocsp->ends_at <= now)
        return "it has expired: clients do not get it";
    if (ocsp->begins_at > now)
        return "it is not valid yet: clients do not get it";
    if (ocsp->status == V_OCSP_CERTSTATUS_REVOKED)
        return "the certificate is revoked: clients do not accept it";
    return ocsp->status == V_OCSP_CERTSTATUS_GOOD
               ? NULL
               : "the authority does not know the certificate: clients may not accept it";
}

/* OpenSSL asks for the response; it frees the copy. */
static int on_status(SSL *ssl, void *user) {
    const struct ocsp *ocsp = user;
    int64_t now = (int64_t)clock_wall_seconds();
    if (ocsp->begins_at > now || (ocsp->ends_at != 0 && ocsp->ends_at <= now))
        return SSL_TLSEXT_ERR_NOACK;
    void *copy = OPENSSL_memdup(ocsp->bytes, ocsp->len);
    if (copy == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)ocsp->len);
    return SSL_TLSEXT_ERR_OK;
}

void ocsp_use(struct ocsp *ocsp, struct ssl_ctx_st *context) {
    SSL_CTX_set_tlsext_status_cb(context, on_status);
    SSL_CTX_set_tlsext_status_arg(context, ocsp);
}
