/* fuzz_address.c -- listen addresses: each address that is read is written as a text that stands
 * for it alone. */
#include "fuzz.h"

#include "net/socket/address.h"

static void check_address(const struct address *address) {
    char text[ADDRESS_TEXT_BYTES], ip[ADDRESS_TEXT_BYTES];
    address_format(address, text, sizeof text);
    address_format_ip(address, ip, sizeof ip);
    fuzz_check(text[0] != '\0' && ip[0] != '\0');
    int port = address_port(address);
    fuzz_check(port >= 0 && port <= 65535);
    if (address->any.sa_family == AF_UNIX || address->dual_stack)
        return;
    struct address_list again;
    char error[ADDRESS_ERROR_BYTES];
    fuzz_check(address_parse(text, &again, error, sizeof error));
    fuzz_check(again.count == 1 && address_port(&again.at[0]) == port);
    char second[ADDRESS_TEXT_BYTES];
    fuzz_check(strcmp(address_format(&again.at[0], second, sizeof second), text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), error[ADDRESS_ERROR_BYTES];
    struct address_list list;
    if (address_parse(text, &list, error, sizeof error)) {
        fuzz_check(list.count >= 1 && list.count <= ADDRESS_LIST_MAX);
        for (size_t i = 0; i < list.count; i++)
            check_address(&list.at[i]);
        struct address other = address_without_ipv6(&list.at[0]);
        check_address(&other);
    } else {
        fuzz_check(error[0] != '\0' && memchr(error, '\0', sizeof error) != NULL);
        fuzz_check(!address_parse(text, &list, NULL, 0));
    }
    free(text);
    return 0;
}
