/* fuzz_redis_reply.c -- what a Redis server answers, in pieces: the replies do not depend on the
 * pieces, and nothing crosses the limits. */
#include "fuzz.h"

#include "base/buffer.h"
#include "cluster/redis/redis_info.h"
#include "cluster/redis/redis_problem.h"
#include "cluster/redis/redis_reader.h"

enum { MAX_BYTES = 64 * 1024 }; /* two blocks of replies */

static void write_reply(struct buffer *out, const struct redisReply *reply, unsigned depth) {
    fuzz_check(depth < REDIS_REPLY_DEPTH + 1);
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        buffer_printf(out, ":%lld", reply->integer);
        return;
    case REDIS_REPLY_NIL:
        buffer_printf(out, "nil");
        return;
    case REDIS_REPLY_ARRAY:
        buffer_printf(out, "*%zu[", reply->elements);
        for (size_t i = 0; i < reply->elements; i++)
            write_reply(out, redis_reply_at(reply, i), depth + 1);
        buffer_printf(out, "]");
        return;
    default:
        fuzz_check(reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ||
                   reply->type == REDIS_REPLY_ERROR);
        fuzz_check(reply->str[reply->len] == '\0');
        buffer_printf(out, "%d'", reply->type);
        buffer_add(out, reply->str, reply->len);
    }
}

static bool on_reply(void *context, const struct redisReply *reply) {
    char sentence[300];
    struct redis_facts facts = {.time_ms = 0};
    write_reply(context, reply, 0);
    redis_problem_of(redis_reply_text(reply), sentence, sizeof sentence);
    redis_info_server(redis_reply_text(reply), &facts);
    redis_info_is_old(redis_reply_text(reply));
    return true;
}

/* Reads all, and returns whether it was taken. */
static bool read_all(struct fuzz_input input, struct fuzz_pieces pieces, struct buffer *out) {
    struct redis_reader *reader = redis_reader_new(MAX_BYTES);
    const char *why = NULL;
    while (input.left > 0 && why == NULL) {
        size_t len = fuzz_next_piece(&pieces, input.left);
        char *piece = fuzz_copy(input.at, len);
        why = redis_reader_feed(reader, (struct slice){piece, len}, on_reply, out);
        free(piece);
        input.at += len;
        input.left -= len;
    }
    if (why != NULL)
        fuzz_check(redis_reader_feed(reader, slice_of("+OK\r\n"), on_reply, out) != NULL);
    redis_reader_free(reader);
    return why == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = {data, size};
    struct fuzz_pieces pieces = fuzz_pieces_of(&input), whole = {0};
    struct buffer one = {0}, other = {0};
    bool good = read_all(input, whole, &one);
    fuzz_check(read_all(input, pieces, &other) == good);
    fuzz_check(one.len == other.len &&
               (one.len == 0 || memcmp(buffer_start(&one), buffer_start(&other), one.len) == 0));
    buffer_free(&one);
    buffer_free(&other);
    return 0;
}
