/* fuzz_redis_url.c -- URLs of Redis servers: no error has a part of the password, and a URL that is
 * taken has parts that can be used. */
#include "fuzz.h"

#include "cluster/redis/redis_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* A word of letters that stand in no sentence; it takes the place of each "\1". */
    static const char secret[] = "qzjx7";
    char *text = fuzz_text(data, size), *spelt = calloc(1, strlen(text) * sizeof secret + 1);
    char why[512] = "";
    const struct error_text error = {why, sizeof why};
    for (const char *at = text; *at != '\0'; at++)
        if (*at == '\1')
            strcat(spelt, secret);
        else
            strncat(spelt, at, 1);
    struct redis_url url;
    if (redis_url_parse(spelt, &url, &error)) {
        fuzz_check(url.host != NULL && url.host[0] != '\0' && url.name[0] != '\0');
        fuzz_check(url.is_unix ? url.port == 0 && url.host[0] == '/' : url.port > 0);
        fuzz_check(url.port <= 65535);
        fuzz_check(url.user == NULL || url.password != NULL);
        struct redis_url copy = redis_url_copy(&url);
        fuzz_check(strcmp(copy.name, url.name) == 0);
        redis_url_close(&copy);
    } else {
        fuzz_check(why[0] != '\0' && memchr(why, '\0', sizeof why) != NULL);
        /* What stands behind the last "@" is no password: names of options are shown. */
        const char *at = strrchr(spelt, '@');
        fuzz_check(at == NULL || strstr(at, secret) != NULL || strstr(why, secret) == NULL);
    }
    redis_url_close(&url);
    free(spelt);
    free(text);
    return 0;
}
