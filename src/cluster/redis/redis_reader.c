/* redis_reader.c -- reads what Redis answers. See redis_reader.h.
 *
 * hiredis splits the bytes; the objects of a reply are made here, in an arena that the next reply
 * uses again. So a reply of four elements costs no call of malloc, and one that is too large is
 * an object that cannot be made. */
#include "cluster/redis/redis_reader.h"

#include "base/mem.h"

#include <stdalign.h>
#include <stdio.h>

enum { CHUNK_BYTES = 32 * 1024 };
/* hiredis moves all that it has not read after each KiB of replies: few bytes at a time. */
enum { FEED_BYTES = 8 * 1024 };

struct chunk {
    struct chunk *next;
    size_t used, size;
    alignas(max_align_t) char bytes[];
};

struct redis_reader {
    redisReader *parser;
    redisReplyObjectFunctions functions;
    struct chunk *chunks; /* the newest first; NULL: none yet */
    size_t bytes;         /* of all chunks */
    size_t max_bytes;
    const char *why; /* the parser has failed */
    char text[192];
};

/* ---- memory ---- */

/* NULL: the reply would be too large. */
static void *take(struct redis_reader *reader, size_t size) {
    size_t rounded = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct chunk *chunk = reader->chunks;
    if (chunk == NULL || chunk->size - chunk->used < rounded) {
        size_t wanted = rounded > CHUNK_BYTES ? rounded : CHUNK_BYTES;
        if (size > reader->max_bytes || wanted > reader->max_bytes - reader->bytes ||
            !mem_has(wanted)) {
            reader->why = "a reply is too large";
            return NULL;
        }
        chunk = mem_alloc(sizeof *chunk + wanted);
        *chunk = (struct chunk){.next = reader->chunks, .size = wanted};
        reader->chunks = chunk;
        reader->bytes += wanted;
    }
    void *place = chunk->bytes + chunk->used;
    chunk->used += rounded;
    return place;
}

/* Frees all objects; keeps a chunk. */
static void release_objects(struct redis_reader *reader) {
    struct chunk *kept = NULL;
    for (struct chunk *chunk = reader->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        if (chunk->size == CHUNK_BYTES && kept == NULL)
            kept = chunk;
        else
            mem_free(chunk);
    }
    reader->bytes = kept == NULL ? 0 : CHUNK_BYTES;
    reader->chunks = kept;
    if (kept != NULL) {
        kept->next = NULL;
        kept->used = 0;
    }
}

/* ---- objects, for hiredis ---- */

static struct redisReply *make(const redisReadTask *task) {
    struct redis_reader *reader = task->privdata;
    /* Which is spoken, since RESP3 was not asked for. RESP2 has no type for nil. */
    if (task->type < REDIS_REPLY_STRING || task->type > REDIS_REPLY_ERROR ||
        task->type == REDIS_REPLY_NIL) {
        reader->why = "a reply is not RESP2";
        return NULL;
    }
    struct redisReply *reply = take(reader, sizeof *reply);
    if (reply == NULL)
        return NULL;
    *reply = (struct redisReply){.type = task->type};
    if (task->parent != NULL)
        ((struct redisReply *)task->parent->obj)->element[task->idx] = reply;
    return reply;
}

static void *make_string(const redisReadTask *task, char *bytes, size_t len) {
    struct redisReply *reply = make(task);
    char *text = reply == NULL ? NULL : take(task->privdata, len + 1);
    if (text == NULL)
        return NULL;
    memcpy(text, bytes, len);
    text[len] = '\0';
    reply->str = text;
    reply->len = len;
    return reply;
}

static void *make_elements(const redisReadTask *task, size_t count) {
    struct redis_reader *reader = task->privdata;
    unsigned depth = 1;
    for (const redisReadTask *at = task->parent; at != NULL; at = at->parent)
        if (++depth > REDIS_REPLY_DEPTH) {
            reader->why = "a reply is nested too deeply";
            return NULL;
        }
    struct redisReply *reply = make(task);
    if (reply == NULL || count > reader->max_bytes / sizeof *reply->element) {
        reader->why = reply == NULL ? reader->why : "a reply is too large";
        return NULL;
    }
    reply->element = count == 0 ? NULL : take(reader, count * sizeof *reply->element);
    reply->elements = count;
    return count > 0 && reply->element == NULL ? NULL : reply;
}

static void *make_integer(const redisReadTask *task, long long value) {
    struct redisReply *reply = make(task);
    if (reply != NULL)
        reply->integer = value;
    return reply;
}

static void *make_nil(const redisReadTask *task) {
    struct redisReply *reply = make(task);
    if (reply != NULL)
        reply->type = REDIS_REPLY_NIL; /* the task is one of a string or an array */
    return reply;
}

static void leave_object(void *object) {
    (void)object; /* release_objects() */
}

#if HIREDIS_MAJOR < 1
static void *make_array(const redisReadTask *task, int count) {
    return make_elements(task, count < 0 ? 0 : (size_t)count);
}
#else
static void *make_array(const redisReadTask *task, size_t count) {
    return make_elements(task, count);
}

static void *make_double(const redisReadTask *task, double value, char *text, size_t len) {
    (void)value, (void)text, (void)len;
    return make(task);
}

static void *make_bool(const redisReadTask *task, int value) {
    (void)value;
    return make(task);
}
#endif

/* ---- life ---- */

struct redis_reader *redis_reader_new(size_t max_bytes) {
    struct redis_reader *reader = mem_zalloc(sizeof *reader);
    reader->max_bytes = max_bytes;
    reader->functions = (redisReplyObjectFunctions) {
        .createString = make_string, .createArray = make_array, .createInteger = make_integer,
        .createNil = make_nil,
#if HIREDIS_MAJOR >= 1
        .createDouble = make_double, .createBool = make_bool,
#endif
        .freeObject = leave_object,
    };
    reader->parser = redisReaderCreateWithFunctions(&reader->functions);
    if (reader->parser == NULL)
        reader->why = "there is no memory for replies";
    else
        reader->parser->privdata = reader;
    return reader;
}

void redis_reader_free(struct redis_reader *reader) {
    if (reader == NULL)
        return;
    if (reader->parser != NULL)
        redisReaderFree(reader->parser);
    for (struct chunk *chunk = reader->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        mem_free(chunk);
    }
    mem_free(reader);
}

/* Why the parser has failed. */
static const char *fault_of(struct redis_reader *reader) {
    if (reader->why == NULL) {
        snprintf(reader->text, sizeof reader->text, "it does not speak Redis' protocol (%s)",
                 reader->parser->errstr);
        reader->why = reader->text;
    }
    return reader->why;
}

/* Does it keep more than may belong to one object? */
static const char *limit_fault(const struct redis_reader *reader) {
    const redisReader *parser = reader->parser;
    size_t kept = parser->len - parser->pos;
    if (kept > reader->max_bytes)
        return "a reply is too large";
    if (kept > REDIS_LINE_BYTES &&
        memchr(parser->buf + parser->pos, '\n', REDIS_LINE_BYTES) == NULL)
        return "a line of a reply is too long";
    return NULL;
}

const char *redis_reader_feed(struct redis_reader *reader, struct slice bytes,
                              redis_reader_fn *on_reply, void *context) {
    while (bytes.len > 0 && reader->why == NULL) {
        size_t part = bytes.len < FEED_BYTES ? bytes.len : FEED_BYTES;
        void *reply = NULL;
        if (redisReaderFeed(reader->parser, bytes.bytes, part) != REDIS_OK)
            return fault_of(reader);
        slice_skip(&bytes, part);
        do {
            if (redisReaderGetReply(reader->parser, &reply) != REDIS_OK)
                return fault_of(reader);
            if (reply == NULL)
                break;
            if (!on_reply(context, reply))
                return NULL;
            release_objects(reader);
        } while (true);
        reader->why = limit_fault(reader);
    }
    return reader->why;
}

/* ---- looking at replies ---- */

struct slice redis_reply_text(const struct redisReply *reply) {
    bool has_text = redis_reply_is(reply, REDIS_REPLY_STRING) ||
                    redis_reply_is(reply, REDIS_REPLY_STATUS) ||
                    redis_reply_is(reply, REDIS_REPLY_ERROR);
    return has_text ? (struct slice){reply->str, reply->len} : (struct slice){"", 0};
}

const struct redisReply *redis_reply_at(const struct redisReply *reply, size_t index) {
    return redis_reply_is(reply, REDIS_REPLY_ARRAY) && index < reply->elements
               ? reply->element[index]
               : NULL;
}
