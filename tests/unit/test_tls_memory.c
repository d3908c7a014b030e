/* test_tls_memory.c -- OpenSSL gets no memory in the middle of a server's handshake or after it:
 * the connection breaks or goes on as it should, and the process goes on. */
#include "tls_pair.h"

#include "net/socket/tls_tickets.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

static struct certificate_files both[2];
static struct tls_tickets *tickets;

/* How many calls succeed until one fails; negative: all succeed. */
static int calls_left = -1;

static bool fails(void) {
    if (calls_left < 0)
        return false;
    return calls_left-- == 0;
}

static void *on_malloc(size_t size, const char *file, int line) {
    (void)file, (void)line;
    return fails() ? NULL : malloc(size);
}

static void *on_realloc(void *block, size_t size, const char *file, int line) {
    (void)file, (void)line;
    if (size > 0 && fails())
        return NULL;
    return realloc(block, size);
}

static void on_free(void *block, const char *file, int line) {
    (void)file, (void)line;
    free(block);
}

/* The server receives what has arrived; OpenSSL's call `fault` of them all gets no memory. */
static void receive_with(int *fault) {
    calls_left = *fault;
    receive(65536);
    *fault = calls_left;
    calls_left = -1;
}

/* The client names the server of the second certificate, and has one itself. */
static void name_and_certify(int version) {
    SSL_set_max_proto_version(client, version);
    SSL_set_tlsext_host_name(client, "second");
    assert_int_equal(SSL_use_certificate_file(client, both[0].certificate, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_use_PrivateKey_file(client, both[0].key, SSL_FILETYPE_PEM), 1);
}

static void check_names(void) {
    char name[64] = "";
    const X509 *x509 = SSL_get0_peer_certificate(client);
    X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, name, sizeof name);
    assert_string_equal(name, "second");
    assert_non_null(tls_facts(tls)->client);
    assert_string_equal(tls_facts(tls)->client->subject, "CN=first");
    assert_int_equal(strlen(tls_facts(tls)->client->fingerprint), 64);
    assert_string_equal(tls_facts(tls)->client->serial, "01");
}

static void talk(int version, int *fault) {
    if (version == TLS1_3_VERSION) {
        SSL_key_update(client, SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(client);
    }
    SSL_write(client, "hello", 5);
    receive_with(fault);
    if (tls_state(tls) != TLS_OPEN)
        return;
    assert_int_equal(received_len, 5);
    assert_memory_equal(received, "hello", 5);
    assert_int_equal(tls_write(tls, "answer", 6), 6);
    check_client_reads("answer", 6);
}

/* A connection with one fault. Returns whether the fault came. */
static bool connect_with(int version, int fault) {
    start(NULL);
    name_and_certify(version);
    for (int i = 0; i < 4 && SSL_do_handshake(client) != 1; i++)
        receive_with(&fault);
    receive_with(&fault);
    if (tls_state(tls) == TLS_OPEN && SSL_is_init_finished(client)) {
        check_names();
        talk(version, &fault);
    }
    if (tls_state(tls) == TLS_BROKEN)
        assert_true(*tls_why(tls) != '\0');
    finish(NULL);
    ERR_clear_error();
    return fault < 0;
}

static void survives_with(int version) {
    int fault = 0;
    while (connect_with(version, fault))
        fault += 3; /* each of them would take too long */
    assert_true(fault > 100);
}

static void survives_in_tls_1_3(void **state) {
    survives_with(TLS1_3_VERSION);
}

static void survives_in_tls_1_2(void **state) {
    survives_with(TLS1_2_VERSION);
}

static int start_servers(void **state) {
    struct tls_problem problem = {.text = ""};
    assert_non_null(mkdtemp(folder));
    certificate_files_make(&both[0], folder, "first", 1000);
    certificate_files_make(&both[1], folder, "second", 1000);
    struct tls_options options = certificate_files_options(both, 2);
    options.client_ca = both[0].certificate;
    options.client_required = true;
    tickets = tls_tickets_new();
    tls_server = tls_server_load(&options, tickets, &problem);
    free(options.certificates);
    assert_string_equal(problem.text, "");
    return 0;
}

static int finish_servers(void **state) {
    tls_server_unref(tls_server);
    tls_tickets_free(tickets);
    certificate_files_remove(&both[0]);
    certificate_files_remove(&both[1]);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_in_tls_1_3),
        cmocka_unit_test(survives_in_tls_1_2),
    };
    CRYPTO_set_mem_functions(on_malloc, on_realloc, on_free);
    return cmocka_run_group_tests(tests, start_servers, finish_servers);
}
