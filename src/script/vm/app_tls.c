/* app_tls.c -- the options of TLS. See app_tls.h.
 *
 * app_tls.lua has checked the values. No function of Lua is called here that can fail. */
#include "script/vm/app_tls.h"

#include "base/mem.h"

#include <string.h>

static char *text_field(lua_State *L, int index, const char *name) {
    lua_pushstring(L, name);
    lua_rawget(L, index);
    char *text = lua_type(L, -1) == LUA_TSTRING ? mem_strdup(lua_tostring(L, -1)) : NULL;
    lua_pop(L, 1);
    return text;
}

static bool field_is(lua_State *L, int index, const char *name, const char *value) {
    char *text = text_field(L, index, name);
    bool is = text != NULL && strcmp(text, value) == 0;
    mem_free(text);
    return is;
}

static void read_names(struct tls_certificate_options *certificate, lua_State *L, int index) {
    lua_pushstring(L, "names");
    lua_rawget(L, index);
    certificate->name_count = lua_istable(L, -1) ? (size_t)lua_rawlen(L, -1) : 0;
    certificate->names = mem_zalloc(certificate->name_count * sizeof *certificate->names);
    for (size_t i = 0; i < certificate->name_count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        certificate->names[i] = mem_strdup(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_certificates(struct tls_options *options, lua_State *L, int index) {
    lua_pushstring(L, "certificates");
    lua_rawget(L, index);
    int list = lua_gettop(L);
    options->certificate_count = (size_t)lua_rawlen(L, list);
    options->certificates = mem_zalloc(options->certificate_count * sizeof *options->certificates);
    for (size_t i = 0; i < options->certificate_count; i++) {
        struct tls_certificate_options *certificate = &options->certificates[i];
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        certificate->certificate = text_field(L, list + 1, "certificate");
        certificate->key = text_field(L, list + 1, "key");
        certificate->ocsp = text_field(L, list + 1, "ocsp");
        read_names(certificate, L, list + 1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

struct tls_options *app_tls_read(lua_State *L, int index) {
    if (!lua_istable(L, index))
        return NULL;
    struct tls_options *options = mem_zalloc(sizeof *options);
    read_certificates(options, L, index);
    options->refuse_unknown_names = field_is(L, index, "unknown_names", "refuse");
    options->client_ca = text_field(L, index, "client_ca");
    options->client_required = !field_is(L, index, "client_verify", "optional");
    options->only_tls13 = field_is(L, index, "min_version", "1.3");
    options->ciphers = text_field(L, index, "ciphers");
    options->cipher_suites = text_field(L, index, "cipher_suites");
    return options;
}

void app_tls_free(struct tls_options *options) {
    if (options == NULL)
        return;
    for (size_t i = 0; i < options->certificate_count; i++) {
        struct tls_certificate_options *certificate = &options->certificates[i];
        for (size_t k = 0; k < certificate->name_count; k++)
            mem_free(certificate->names[k]);
        mem_free(certificate->names);
        mem_free(certificate->certificate);
        mem_free(certificate->key);
        mem_free(certificate->ocsp);
    }
    mem_free(options->certificates);
    mem_free(options->client_ca);
    mem_free(options->ciphers);
    mem_free(options->cipher_suites);
    mem_free(options);
}
