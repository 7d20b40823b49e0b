/* What is asked of a row of a step once its logits are there: the next token of its text, or how
 * likely a given token is after it. */
#ifndef GPT2_ASK_H
#define GPT2_ASK_H

#include "sample.h"

#define BAD_ASK (-2) /* in place of a token: an index or an option is out of range */

/* Whoever asks keeps one for each text, and writes what has changed before a step. */
typedef struct {
    Sampling sampling;
    int32_t *top_token; /* [top] */
    double *top_value;  /* [top]: their log probabilities, likeliest first */
    int32_t top;        /* -1: no log probability at all */
    int32_t is_drawn;   /* 1: of what is drawn from, and not of the logits as they are */
    int32_t given;      /* the token to score, or -1: one is to be chosen */
    int32_t row;        /* among the rows of the step; several may ask for one */
    int32_t end_count;
    const int32_t *end_token; /* [end_count]: nothing follows these */
    /* Answers. */
    int32_t token; /* chosen or given; NOT_FINITE or BAD_ASK */
    double log_probability;
    /* The step's own: where the row's logits are. */
    int32_t place;
} Ask;

/* Whether what is asked can be answered, by a step of `rows` rows. */
bool is_answerable(const Ask *ask, int32_t rows, int32_t vocabulary);

/* Answers from the logits [V] of its row. */
void answer(Sampler *sampler, const float *logits, Ask *ask);

#endif
