/* jwt_c.c -- the Lua module `tidewire.jwt_c`: signatures of JSON Web Tokens (RFC 7515), by libjwt.
 *
 * Has only cryptography and the decoding of bytes. lua/tidewire/jwt.lua decides which tokens are
 * accepted; docs/decisions/jwt.md says which checks are not left to libjwt. The only file that
 * includes libjwt. Keeps nothing between calls; runs on the thread of its Lua state. */
#include "script/jwt/jwt_c.h"

#include <jwt.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* libjwt copies the parts of a token to the C stack, so their size needs a limit. */
#define MAX_BYTES (64 * 1024)

/* An argument without NUL and within the limit; else NULL. */
static const char *bounded_text(lua_State *L, int index) {
    size_t len;
    const char *text = luaL_checklstring(L, index, &len);
    return len <= MAX_BYTES && !memchr(text, 0, len) ? text : NULL;
}

/* The algorithm of a name. libjwt's function accepts names in any case and "none", and its number
 * for "no such algorithm" depends on its build. */
static jwt_alg_t check_algorithm(lua_State *L, int index) {
    static const char *const names[] = {"HS256", "HS384", "HS512", "RS256", "RS384",
                                        "RS512", "ES256", "ES384", "ES512", NULL};
    static const jwt_alg_t algorithms[] = {JWT_ALG_HS256, JWT_ALG_HS384, JWT_ALG_HS512,
                                           JWT_ALG_RS256, JWT_ALG_RS384, JWT_ALG_RS512,
                                           JWT_ALG_ES256, JWT_ALG_ES384, JWT_ALG_ES512};
    return algorithms[luaL_checkoption(L, index, NULL, names)];
}

/* A key of no bytes would make libjwt skip the check of the signature. */
static const unsigned char *check_key(lua_State *L, int index, int *len) {
    size_t size;
    const char *key = luaL_checklstring(L, index, &size);
    luaL_argcheck(L, size > 0 && size <= MAX_BYTES, index, "empty or oversized key");
    *len = (int)size;
    return (const unsigned char *)key;
}

/* verify(token, algorithm, key) -> boolean. The token's three parts must be base64url. */
static int verify(lua_State *L) {
    const char *token = bounded_text(L, 1);
    jwt_alg_t algorithm = check_algorithm(L, 2);
    int key_len;
    const unsigned char *key = check_key(L, 3, &key_len);
    jwt_t *jwt = NULL;
    bool good =
        token && jwt_decode(&jwt, token, key, key_len) == 0 && jwt && jwt_get_alg(jwt) == algorithm;
    jwt_free(jwt);
    lua_pushboolean(L, good);
    return 1;
}

/* --- signing ---------------------------------------------------------------------------------- */

/* Memory of libjwt's that a Lua error must not leak. */
struct signing {
    jwt_t *jwt;
    char *token;
};

static const char signing_name[] = "tidewire.jwt.signing";

static int signing_gc(lua_State *L) {
    struct signing *s = luaL_checkudata(L, 1, signing_name);
    jwt_free(s->jwt);
    free(s->token);
    *s = (struct signing){0};
    return 0;
}

static struct signing *new_signing(lua_State *L) {
    struct signing *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (struct signing){0};
    luaL_setmetatable(L, signing_name);
    return s;
}

/* Returns the name of the wrong part, or NULL with s->token set. */
static const char *make_token(struct signing *s, jwt_alg_t algorithm, const unsigned char *key,
                              int key_len, const char *headers, const char *claims) {
    if (jwt_new(&s->jwt) != 0)
        return "memory";
    if (!headers || jwt_add_headers_json(s->jwt, headers) != 0)
        return "headers";
    if (!claims || jwt_add_grants_json(s->jwt, claims) != 0)
        return "claims";
    if (jwt_set_alg(s->jwt, algorithm, key, key_len) != 0)
        return "key";
    s->token = jwt_encode_str(s->jwt);
    return s->token ? NULL : "key";
}

/* sign(algorithm, key, headers, claims) -> token | nil, "headers" | "claims" | "key" | "memory":
 * the part that libjwt refuses. Headers and claims are JSON objects. */
static int sign(lua_State *L) {
    jwt_alg_t algorithm = check_algorithm(L, 1);
    int key_len;
    const unsigned char *key = check_key(L, 2, &key_len);
    const char *headers = bounded_text(L, 3);
    const char *claims = bounded_text(L, 4);
    struct signing *s = new_signing(L);
    const char *wrong = make_token(s, algorithm, key, key_len, headers, claims);
    if (wrong) {
        lua_pushnil(L);
        lua_pushstring(L, wrong);
        return 2;
    }
    lua_pushstring(L, s->token);
    return 1;
}

/* --- base64url -------------------------------------------------------------------------------- */

static int sextet(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* decode64(text) -> bytes | nil. Base64url without padding (RFC 7515 §2). Of the texts with the
 * same bytes it accepts only the one whose unused bits are 0. */
static int decode64(lua_State *L) {
    size_t len, used = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_Buffer out;
    char *bytes = luaL_buffinitsize(L, &out, len);
    uint32_t bits = 0;
    int count = 0;
    bool good = len % 4 != 1;
    for (size_t i = 0; good && i < len; i++) {
        int six = sextet(text[i]);
        good = six >= 0;
        bits = bits << 6 | (uint32_t)(six & 63);
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes[used++] = (char)(bits >> count);
        }
    }
    good = good && (bits & ((1u << count) - 1)) == 0;
    luaL_pushresultsize(&out, good ? used : 0);
    if (!good)
        lua_pushnil(L);
    return 1;
}

int luaopen_tidewire_jwt_c(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"verify", verify},
        {"sign", sign},
        {"decode64", decode64},
        {NULL, NULL},
    };
    if (luaL_newmetatable(L, signing_name)) {
        lua_pushcfunction(L, signing_gc);
        lua_setfield(L, -2, "__gc");
    }
    luaL_newlib(L, functions);
    return 1;
}
