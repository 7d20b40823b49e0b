/* What is called from outside. Every function may be called from one thread at a time. */
#ifndef GPT2_API_H
#define GPT2_API_H

#include "step.h"

#define EXPORT __attribute__((visibility("default")))

typedef enum {
    OK = 0,
    NO_MEMORY,    /* buffers or threads could not be had */
    BAD_COUNT,    /* no rows, more than max_rows, or more wanted ones than rows */
    BAD_TOKEN,    /* outside 0 .. V - 1 */
    BAD_SLOT,     /* outside 0 .. slots - 1 */
    BAD_POSITION, /* outside 0 .. T - 1 */
    BAD_ORDER,    /* rows of one slot apart from each other, or not at consecutive positions */
    BAD_WANT,     /* not ascending, or outside the rows */
    BAD_DECODE    /* steps that cannot follow each other */
} Status;

/* The instruction set that this library was built for. */
EXPORT const char *gpt2_isa(void);

/* Bytes of one slot of the cache, for the sizes in `model`. */
EXPORT uint64_t gpt2_slot_bytes(const Model *model);

/* Makes an engine of a model, whose arrays must outlive it. NULL: no memory. */
EXPORT Engine *gpt2_create(const Model *model);
EXPORT void gpt2_destroy(Engine *engine);

/* Computes one step: the keys and values of `count` rows, and for the rows `want` [wanted]
 * (ascending indices) logits [wanted][V] and final hidden states [wanted][D]; either may be NULL.
 * Positions before a slot's first row must have been computed. Nothing is computed where the status
 * is not OK. */
EXPORT int32_t gpt2_step(Engine *engine, const Row *rows, int32_t count, const int32_t *want,
                         int32_t wanted, float *logits, float *hidden);

/* Computes one step, and answers who asks (see ask.h): logits are made of the rows that are asked
 * for alone. Besides, the final hidden states [wanted][D] of the rows `want`. Whoever asks for what
 * is not there gets BAD_ASK in place of a token; the others are answered. Each of `asks` is another
 * one. */
EXPORT int32_t gpt2_step_and_answer(Engine *engine, const Row *rows, int32_t count,
                                    Ask *const *asks, int32_t asked, const int32_t *want,
                                    int32_t wanted, float *hidden);

/* Computes steps that follow each other (see decode.h), the first one of `count` rows, of which
 * each is the newest of another slot and is asked by the ask of its index for the next token,
 * without log probabilities. Ends early with the step in which a text ends. BAD_DECODE, and nothing
 * computed, where an ask cannot be answered, the rows are more than LOGIT_ROWS, or there is no room
 * for so many positions or tokens seen. */
EXPORT int32_t gpt2_decode(Engine *engine, const Row *rows, int32_t count, Ask *const *asks,
                           Decode *decode);

/* Copies the first `length` positions of a slot to another one. */
EXPORT int32_t gpt2_copy(Engine *engine, int32_t source, int32_t target, int32_t length);

/* See log_probability. NaN where `token` or `top` is outside the vocabulary. */
EXPORT double gpt2_log_probability(const float *logits, int32_t vocabulary, int32_t token,
                                   int32_t top, int32_t *top_token, double *top_value);

#endif
