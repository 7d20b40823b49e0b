/* How far apart the predictions of two models are; what packaging measures quality with. */
#ifndef GPT2_COMPARE_H
#define GPT2_COMPARE_H

#include <stdint.h>

/* Mean of expected - found [V] under the softmax of `expected`; NaN where either is not finite. The
 * KL divergence is this, less the difference of the two logarithms of sums. */
double mean_difference(const float *expected, const float *found, int32_t vocabulary);

#endif
