/* fuzz_state.c -- sections of a state file, whose header and checksum are right: what the check
 * accepts can be taken whole. */
#include "fuzz.h"

#include "server/state/state.h"
#include "server/state/state_file.h"

static uint64_t now_ms(void *user) {
    (void)user;
    return 1000;
}

static struct bus *new_bus(void) {
    static const struct room_rule rule = {
        "*", {{.messages = 2, .bytes = 100}, {.messages = 2, .bytes = 100}}, false};
    struct bus *bus = bus_new();
    bus_memory_set(bus, &rule, 1, 500);
    return bus;
}

static void take(const struct state_file *file) {
    struct shared *shared = shared_new(now_ms, NULL);
    struct bus *bus = new_bus();
    size_t at = 0;
    uint32_t type;
    struct slice body;
    while (state_file_next(file, &at, &type, &body)) {
        struct store_unpacked result = {0};
        if (type == STATE_SHARED)
            fuzz_check(shared_unpack(shared, body, 1, &result));
        if (type == STATE_ROOMS)
            fuzz_check(bus_memory_restore(bus, body));
    }
    bus_free(bus);
    shared_free(shared);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[256];
    struct error_text problem = {text, sizeof text};
    size_t len = STATE_HEADER_BYTES + size;
    char *bytes = malloc(len);
    struct state_file file;
    if (size > 0)
        memcpy(bytes + STATE_HEADER_BYTES, data, size);
    state_file_header((unsigned char *)bytes, len, 0);
    state_file_set_crc((unsigned char *)bytes, state_file_crc(0, data, size), len);
    if (state_file_parse((struct slice){bytes, len}, state_check_section, &file, &problem))
        take(&file);
    else
        fuzz_check(text[0] != '\0');
    free(bytes);
    char *copy = fuzz_copy(data, size); /* as a whole file */
    state_file_parse((struct slice){copy, size}, state_check_section, &file, &problem);
    free(copy);
    return 0;
}
