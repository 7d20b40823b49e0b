/* Logits in, token out: one row at a time, with what its own request asks for. */
#ifndef GPT2_SAMPLE_H
#define GPT2_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#define NOT_FINITE (-1) /* in place of a token: the logits are no numbers */

/* How the next token of a sequence is chosen. */
typedef struct {
    float temperature; /* 0 takes the likeliest */
    float top_p, min_p;
    int32_t top_k; /* 0 is off */
    float repetition_penalty, presence_penalty, frequency_penalty;
    int32_t seen_count, seen_room, bias_count;
    int32_t *seen_token;       /* [seen_room]: seen_count distinct tokens of prompt and text */
    float *seen_times;         /* [seen_room]: how often the text holds each */
    const int32_t *bias_token; /* [bias_count] */
    const float *bias;         /* [bias_count]: added to these logits */
    const uint32_t *allowed;   /* [allowed_words]: bit t % 32 of word t / 32 lets token t come; or
                                  NULL: all may */
    int32_t allowed_words;     /* (V + 31) / 32 */
    double uniform;            /* the random number, in [0, 1) */
} Sampling;

/* A token and its weight before it is normalised; the likeliest token's is 1. */
typedef struct {
    float weight;
    int32_t token;
} Candidate;

/* What lies at or above a weight. */
typedef struct {
    float bound;
    int32_t count;
    double sum;
} Above;

/* Tokens that weigh at least low.bound and less than high.bound. */
typedef struct {
    Above high, low;
} Range;

/* What sampling works in; one a thread. */
typedef struct {
    int32_t vocabulary;
    float *values;      /* [V, rounded up to SAMPLE_BLOCK]: logits, then weights */
    double *block_sum;  /* [blocks]: of the weights of a block */
    float *block_most;  /* [blocks]: the largest of them */
    Candidate *list;    /* [V]: those of `listed`, the largest first */
    Candidate *sorting; /* [V] */
    Range listed;
    double total; /* of all weights */
    /* What the last draw was from: so many of the likeliest, and what they weigh together. */
    double drawn_weight;
    int32_t drawn_count;
} Sampler;

#define SAMPLE_BLOCK 256
/* Dividing by less overflows; the likeliest token has all the weight. */
#define GREEDY_BELOW 1e-5f

/* The next token after logits [V], or NOT_FINITE. */
int32_t sample(Sampler *sampler, const float *logits, const Sampling *options);

#endif
