/* tls_facts.c -- what scripts may know of an encrypted connection. See tls_facts.h. */
#include "net/socket/tls_facts.h"

#include "base/buffer.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

enum { MAX_NAMES = 64 };

/* As "CN=ada, O=…", in ASCII: all other bytes are escaped. NULL: it cannot be read, as below;
 * a part of it could be the name of another client. */
static char *name_text(const X509_NAME *name) {
    BIO *out = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    if (out == NULL || X509_NAME_print_ex(out, name, 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ) < 0) {
        BIO_free(out);
        return NULL;
    }
    long len = BIO_get_mem_data(out, &bytes);
    char *text = mem_zalloc((size_t)len + 1);
    if (len > 0)
        memcpy(text, bytes, (size_t)len);
    BIO_free(out);
    return text;
}

static char *serial_text(const X509 *x509) {
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), NULL);
    char *hex = number == NULL ? NULL : BN_bn2hex(number);
    char *text = mem_strdup(hex);
    OPENSSL_free(hex);
    BN_free(number);
    return text;
}

static char *fingerprint_text(const X509 *x509) {
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (X509_digest(x509, EVP_sha256(), digest, &len) != 1)
        return NULL;
    char *text = mem_zalloc(2 * (size_t)len + 1);
    for (unsigned i = 0; i < len; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    return text;
}

/* Adds a name, unless it has a NUL, by which programs that end texts there would be deceived. */
static void add_name(struct buffer *names, const void *bytes, size_t len) {
    if (len == 0 || memchr(bytes, '\0', len) != NULL)
        return;
    buffer_add(names, bytes, len);
    buffer_add(names, "", 1);
}

static void add_ip(struct buffer *names, const ASN1_OCTET_STRING *ip) {
    char text[INET6_ADDRSTRLEN] = "";
    int len = ASN1_STRING_length(ip);
    if (len == 4 || len == 16)
        inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), text, sizeof text);
    add_name(names, text, strlen(text));
}

static char *names_text(const X509 *x509) {
    GENERAL_NAMES *list = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    struct buffer names = {0};
    if (list == NULL && X509_get_ext_by_NID(x509, NID_subject_alt_name, -1) >= 0)
        return NULL;
    for (int i = 0; i < sk_GENERAL_NAME_num(list) && i < MAX_NAMES; i++) {
        int type;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(list, i), &type);
        if (type == GEN_DNS || type == GEN_EMAIL || type == GEN_URI)
            add_name(&names, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
        else if (type == GEN_IPADD)
            add_ip(&names, value);
    }
    GENERAL_NAMES_free(list);
    return buffer_take_text(&names);
}

static struct tls_client_facts *client_facts(const X509 *x509) {
    struct tm tm;
    struct tls_client_facts *facts = mem_zalloc(sizeof *facts);
    facts->subject = name_text(X509_get_subject_name(x509));
    facts->issuer = name_text(X509_get_issuer_name(x509));
    facts->serial = serial_text(x509);
    facts->fingerprint = fingerprint_text(x509);
    facts->names = names_text(x509);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(x509), &tm) == 1)
        facts->not_after = (int64_t)timegm(&tm);
    return facts;
}

static bool are_whole(const struct tls_client_facts *facts) {
    return facts->subject != NULL && facts->issuer != NULL && facts->serial != NULL &&
           facts->fingerprint != NULL && facts->names != NULL;
}

struct tls_facts *tls_facts_new(struct ssl_st *ssl) {
    struct tls_facts *facts = mem_zalloc(sizeof *facts);
    const unsigned char *protocol;
    unsigned protocol_len;
    SSL_get0_alpn_selected(ssl, &protocol, &protocol_len);
    facts->version = SSL_get_version(ssl);
    facts->cipher = SSL_CIPHER_get_name(SSL_get_current_cipher(ssl));
    facts->alpn = protocol_len > 0 ? "http/1.1" : NULL; /* the only one that the server has */
    facts->resumed = SSL_session_reused(ssl) == 1;
    facts->server_name = mem_strdup(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    const X509 *x509 = SSL_get0_peer_certificate(ssl);
    facts->client = x509 == NULL ? NULL : client_facts(x509);
    if (facts->client == NULL || are_whole(facts->client))
        return facts;
    tls_facts_free(facts);
    return NULL;
}

void tls_facts_free(struct tls_facts *facts) {
    if (facts == NULL)
        return;
    struct tls_client_facts *client = facts->client;
    if (client != NULL) {
        mem_free(client->subject);
        mem_free(client->issuer);
        mem_free(client->serial);
        mem_free(client->fingerprint);
        mem_free(client->names);
        mem_free(client);
    }
    mem_free(facts->server_name);
    mem_free(facts);
}
