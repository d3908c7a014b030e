/* fuzz_url.c -- URLs of a WebSocket client, and the request of a handshake for them.
 *
 * No URL may end a line of the request: scripts pass texts of others. */
#include "fuzz.h"

#include "base/mem.h"
#include "net/client/url.h"
#include "net/client/ws_client.h"
#include "net/http/handshake.h"
#include "net/http/request.h"

static void check_request(const struct url *url) {
    struct ws_client_options options = {0};
    char key[WS_CLIENT_KEY_BYTES];
    char *text = ws_client_write_request(url, &options, key);
    size_t len = strlen(text);
    struct request request;
    memset(&request, 0, sizeof request);
    int result = request_parse(&request, text, len, len + 1);
    fuzz_check(result == (int)len);
    struct handshake handshake;
    fuzz_check(handshake_check(&request, &handshake) == 0);
    fuzz_check(slice_is(handshake.key, key));
    fuzz_check(slice_is(request.target, url->target));
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), error[256] = "";
    struct url url;
    if (url_parse(text, &url, error, sizeof error)) {
        fuzz_check(url.target[0] == '/' && url.host[0] != '\0' && url.authority != NULL);
        fuzz_check(url.is_unix == (url.port[0] == '\0'));
        check_request(&url);
    } else {
        fuzz_check(error[0] != '\0' && memchr(error, '\0', sizeof error) != NULL);
    }
    url_close(&url);
    free(text);
    return 0;
}
