/* Log probabilities of tokens: of logits as they are, or of what is drawn from. */
#ifndef GPT2_LOGPROB_H
#define GPT2_LOGPROB_H

#include <stdint.h>

#include "sample.h"

/* Natural log probability of `token`, and of the `top` likeliest tokens, likeliest first (of equal
 * ones the lower id), from logits [V] as they are. NaN, and no tokens, where these are no numbers.
 */
double log_probability(const float *logits, int32_t vocabulary, int32_t token, int32_t top,
                       int32_t *top_token, double *top_value);

/* The same of what `sample` has just drawn from: behind penalties, bias and mask, temperature,
 * top_k, top_p and min_p; a greedy choice is behind the first three. -inf for a token that could
 * not come. */
double drawn_log_probability(const Sampler *sampler, const float *logits, const Sampling *options,
                             int32_t token, int32_t top, int32_t *top_token, double *top_value);

#endif
