/* messages.c -- what the load generator sends, and what it expects as answers. See messages.h. */
#include "messages.h"

#include "load.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MASK_BYTES = 4,
    MAX_HEADER = 14,        /* two bytes, a 64-bit length, a mask */
    FIRST_NUMBER = 1000000, /* the number of message 0: all have as many digits */
    NUMBER_DIGITS = 7,
    JSON_BYTES = 512,
};

static const size_t MAX_BYTES = (size_t)2 << 30;

/* A message has its number in it, and otherwise the same bytes as the others. */
static struct {
    uint8_t *requests; /* frames of all messages, and once more of the first `depth` - 1 */
    size_t request_frame;
    size_t request_size; /* of `depth` frames */
    uint8_t *answers;
    size_t answer_frame;
    char *payload; /* of message 0 */
} messages;

static const char JSON[] =
    "{\"id\":%d,\"kind\":\"note\",\"author\":\"user-%d\",\"room\":\"lobby\",\"text\":\"Message %d"
    " of a conversation about nothing in particular.\",\"time\":1732962000.25,\"count\":0,"
    "\"read\":false,\"tags\":[\"first\",\"second\"],\"reply_to\":null}";
static const char *const JSON_FIELDS[] = {"id",   "kind",  "author", "room", "text",
                                          "time", "count", "read",   "tags", "reply_to"};

static size_t put_header(uint8_t *at, bool masked) {
    size_t size = (size_t)options.size, length_bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
    at[0] = 0x81; /* text, whole */
    at[1] = (uint8_t)(size < 126 ? size : size < 65536 ? 126 : 127);
    if (masked)
        at[1] |= 0x80;
    for (size_t i = 0; i < length_bytes; i++)
        at[2 + i] = (uint8_t)((uint64_t)size >> (8 * (length_bytes - 1 - i)));
    return 2 + length_bytes;
}

static void *allocate(size_t bytes) {
    void *memory = bytes <= MAX_BYTES ? malloc(bytes) : NULL;
    if (memory == NULL)
        fail("no memory for %d messages of %d bytes", options.texts, options.size);
    return memory;
}

static void write_payload(void) {
    if (options.json) {
        messages.payload = allocate(JSON_BYTES);
        options.size =
            snprintf(messages.payload, JSON_BYTES, JSON, FIRST_NUMBER, FIRST_NUMBER, FIRST_NUMBER);
        return;
    }
    if (options.texts > 1 && options.size < NUMBER_DIGITS)
        fail("%d different texts need %d bytes each", options.texts, NUMBER_DIGITS);
    size_t size = (size_t)options.size;
    messages.payload = allocate(size + 1);
    for (size_t i = 0; i < size; i++)
        messages.payload[i] = (char)('a' + i % 26);
    messages.payload[size] = '\0';
    if (size >= NUMBER_DIGITS)
        memcpy(messages.payload, "1000000", NUMBER_DIGITS);
}

static void write_digits(char text[NUMBER_DIGITS + 1], int number) {
    text[NUMBER_DIGITS] = '\0';
    for (int i = NUMBER_DIGITS; i-- > 0; number /= 10)
        text[i] = (char)('0' + number % 10);
}

/* Copies a payload of message 0, with another message's number wherever its own was. Returns how
 * often that was. */
static int put_payload(uint8_t *to, const char *payload, int number) {
    char digits[NUMBER_DIGITS + 1], first[NUMBER_DIGITS + 1];
    write_digits(digits, FIRST_NUMBER + number);
    write_digits(first, FIRST_NUMBER);
    memcpy(to, payload, (size_t)options.size);
    int places = 0;
    for (const char *at = payload; (at = strstr(at, first)) != NULL; at += NUMBER_DIGITS) {
        memcpy(to + (at - payload), digits, NUMBER_DIGITS);
        places++;
    }
    return places;
}

static void write_request(uint8_t *at, int number) {
    static const uint8_t mask[MASK_BYTES] = {0x5a, 0xc3, 0x17, 0x8e};
    at += put_header(at, true);
    memcpy(at, mask, MASK_BYTES);
    at += MASK_BYTES;
    put_payload(at, messages.payload, number);
    for (size_t i = 0; i < (size_t)options.size; i++)
        at[i] ^= mask[i % MASK_BYTES];
}

static void write_answers(const char *payload) {
    for (int number = 0; number < options.texts; number++) {
        uint8_t *frame = messages.answers + (size_t)number * messages.answer_frame;
        put_payload(frame + put_header(frame, false), payload, number);
    }
}

void messages_write(int depth) {
    write_payload();
    uint8_t header[MAX_HEADER];
    messages.answer_frame = put_header(header, false) + (size_t)options.size;
    messages.request_frame = messages.answer_frame + MASK_BYTES;
    messages.request_size = messages.request_frame * (size_t)depth;
    size_t frames = (size_t)options.texts + (size_t)depth - 1;
    messages.requests = allocate(frames * messages.request_frame);
    messages.answers = allocate((size_t)options.texts * messages.answer_frame);
    for (size_t i = 0; i < frames; i++)
        write_request(messages.requests + i * messages.request_frame,
                      (int)(i % (size_t)options.texts));
    write_answers(messages.payload);
}

const uint8_t *messages_request(int number) {
    return messages.requests + (size_t)number * messages.request_frame;
}

size_t messages_request_size(void) {
    return messages.request_size;
}

const uint8_t *messages_answer(int number) {
    return messages.answers + (size_t)number * messages.answer_frame;
}

size_t messages_answer_size(void) {
    return messages.answer_frame;
}

int messages_after(int number, int steps) {
    return (number + steps) % options.texts;
}

void messages_learn(const uint8_t *answer) {
    uint8_t header[MAX_HEADER], *copy = allocate((size_t)options.size);
    size_t header_size = put_header(header, false);
    char *payload = allocate((size_t)options.size + 1);
    memcpy(payload, answer + header_size, (size_t)options.size);
    payload[options.size] = '\0';
    bool good = memcmp(answer, header, header_size) == 0 &&
                put_payload(copy, payload, 0) == put_payload(copy, messages.payload, 0);
    for (size_t i = 0; i < sizeof JSON_FIELDS / sizeof JSON_FIELDS[0]; i++) {
        char field[32];
        snprintf(field, sizeof field, "\"%s\":", JSON_FIELDS[i]);
        good = good && strstr(payload, field) != NULL;
    }
    if (!good)
        fail("the answer to a JSON object of ten fields is another one: %s", payload);
    write_answers(payload);
    free(payload);
    free(copy);
}
