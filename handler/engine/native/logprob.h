/* Log probabilities of tokens, from logits as they are. */
#ifndef GPT2_LOGPROB_H
#define GPT2_LOGPROB_H

#include <stdint.h>

/* Natural log probability of `token`, and of the `top` likeliest tokens, likeliest first (of equal
 * ones the lower id), from logits [V] as they are. NaN, and no tokens, where these are no numbers.
 */
double log_probability(const float *logits, int32_t vocabulary, int32_t token, int32_t top,
                       int32_t *top_token, double *top_value);

#endif
