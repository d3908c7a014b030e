/* messages.h -- what the load generator sends, and what it expects as answers.
 *
 * There are options.texts different messages, all of the same size, counted from 0: text, or JSON
 * objects of ten fields with options.json. After the last comes the first again. Knows no socket.
 */
#ifndef TIDEWIRE_BENCH_MESSAGES_H
#define TIDEWIRE_BENCH_MESSAGES_H

#include <stddef.h>
#include <stdint.h>

/* Makes them; connections will send `depth` of them at a time. An answer is the message itself. */
void messages_write(int depth);

/* The frames of `depth` messages, beginning with this one. */
const uint8_t *messages_request(int number);
size_t messages_request_size(void);

/* The frame that answers this message. */
const uint8_t *messages_answer(int number);
size_t messages_answer_size(void);

/* The message that comes `steps` after this one. */
int messages_after(int number, int steps);

/* A server that writes JSON may order the fields as it likes, and change the digit of "count".
 * `answer` is its frame for message 0; expects those of all other messages in the same form. */
void messages_learn(const uint8_t *answer);

#endif
