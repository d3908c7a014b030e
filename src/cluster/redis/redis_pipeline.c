/* redis_pipeline.c -- commands that Redis has not answered. See redis_pipeline.h. */
#include "cluster/redis/redis_pipeline.h"

#include "base/mem.h"

enum { COUNT_BYTES = 24 }; /* "*", a number, an end of line */
enum { REPEATS_MAX = 2 };  /* the scripts may be removed again meanwhile */

/* ---- bytes ---- */

/* Writes "$12\r\n". Returns the end. */
static char *put_count(char *to, char mark, size_t count) {
    char digits[20];
    unsigned n = 0;
    do
        digits[n++] = (char)('0' + count % 10);
    while ((count /= 10) > 0);
    *to++ = mark;
    while (n > 0)
        *to++ = digits[--n];
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

void redis_pipeline_add(struct redis_pipeline *pipeline, unsigned argc, const struct slice *argv,
                        redis_reply_fn *on_reply, void *context) {
    size_t room = COUNT_BYTES;
    for (unsigned i = 0; i < argc; i++)
        room += argv[i].len + COUNT_BYTES + 2;
    char *start = buffer_room(&pipeline->bytes, room), *to = put_count(start, '*', argc);
    for (unsigned i = 0; i < argc; i++) {
        to = put_count(to, '$', argv[i].len);
        if (argv[i].len > 0)
            memcpy(to, argv[i].bytes, argv[i].len);
        memcpy(to + argv[i].len, "\r\n", 2);
        to += argv[i].len + 2;
    }
    size_t len = (size_t)(to - start);
    pipeline->bytes.len += len;
    if (on_reply != NULL)
        buffer_add(&pipeline->awaiting, &(struct redis_awaited){on_reply, context, len, 0},
                   sizeof(struct redis_awaited));
}

struct slice redis_pipeline_unsent(const struct redis_pipeline *pipeline) {
    size_t end = pipeline->holds ? pipeline->limit : pipeline->bytes.len;
    if (end == pipeline->sent)
        return (struct slice){NULL, 0};
    return (struct slice){buffer_start(&pipeline->bytes) + pipeline->sent, end - pipeline->sent};
}

/* Drops the oldest bytes, which were written. */
static void drop_bytes(struct redis_pipeline *pipeline, size_t len) {
    buffer_drop(&pipeline->bytes, len);
    pipeline->sent -= len;
    if (pipeline->holds)
        pipeline->limit -= len;
    if (pipeline->bytes.len == 0)
        buffer_free(&pipeline->bytes);
}

void redis_pipeline_wrote(struct redis_pipeline *pipeline, size_t len) {
    pipeline->sent += len;
    if (pipeline->forgets)
        drop_bytes(pipeline, len);
}

void redis_pipeline_forget(struct redis_pipeline *pipeline) {
    drop_bytes(pipeline, pipeline->sent);
    pipeline->forgets = true;
}

/* ---- answers ---- */

struct redis_awaited redis_pipeline_first(const struct redis_pipeline *pipeline) {
    struct redis_awaited first = {NULL, NULL, 0, 0};
    if (pipeline->awaiting.len > 0)
        memcpy(&first, buffer_start(&pipeline->awaiting), sizeof first);
    if (first.len > pipeline->sent && !pipeline->forgets)
        first.on_reply = NULL;
    return first;
}

void redis_pipeline_answered(struct redis_pipeline *pipeline) {
    struct redis_awaited first = redis_pipeline_first(pipeline);
    buffer_drop(&pipeline->awaiting, sizeof first);
    if (pipeline->awaiting.len == 0)
        buffer_free(&pipeline->awaiting);
    if (!pipeline->forgets)
        drop_bytes(pipeline, first.len);
    if (pipeline->holds)
        pipeline->before--;
}

bool redis_pipeline_repeat(struct redis_pipeline *pipeline) {
    struct redis_awaited first = redis_pipeline_first(pipeline);
    if (first.repeats++ >= REPEATS_MAX)
        return false;
    if (!pipeline->holds) {
        pipeline->holds = true;
        pipeline->before = pipeline->awaiting.len / sizeof first;
        pipeline->limit = pipeline->bytes.len;
    }
    buffer_add(&pipeline->again_bytes, buffer_start(&pipeline->bytes), first.len);
    buffer_add(&pipeline->again, &first, sizeof first);
    redis_pipeline_answered(pipeline);
    return true;
}

bool redis_pipeline_may_repeat(const struct redis_pipeline *pipeline) {
    return pipeline->holds && pipeline->before == 0;
}

/* Moves all bytes of `from` behind those of `to`. */
static void move(struct buffer *to, struct buffer *from) {
    buffer_add(to, buffer_start(from), from->len);
    buffer_free(from);
}

void redis_pipeline_send_again(struct redis_pipeline *pipeline, void (*prepare)(void *owner),
                               void *owner) {
    struct redis_pipeline old = *pipeline;
    *pipeline = (struct redis_pipeline){.forgets = old.forgets};
    prepare(owner);
    move(&pipeline->bytes, &old.again_bytes);
    move(&pipeline->awaiting, &old.again);
    move(&pipeline->bytes, &old.bytes);
    move(&pipeline->awaiting, &old.awaiting);
}

/* Calls those of one list. */
static void lose(struct buffer *awaiting) {
    struct buffer all = *awaiting;
    *awaiting = (struct buffer){0};
    for (size_t at = 0; at < all.len; at += sizeof(struct redis_awaited)) {
        struct redis_awaited one;
        memcpy(&one, buffer_start(&all) + at, sizeof one);
        one.on_reply(one.context, NULL);
    }
    buffer_free(&all);
}

void redis_pipeline_close(struct redis_pipeline *pipeline) {
    buffer_free(&pipeline->bytes);
    buffer_free(&pipeline->again_bytes);
    lose(&pipeline->again);
    lose(&pipeline->awaiting);
    pipeline->sent = 0;
    pipeline->holds = false;
}
