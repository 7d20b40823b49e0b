/* The part of attention that both precisions share: scores to weights. */
#ifndef GPT2_SOFTMAX_H
#define GPT2_SOFTMAX_H

#include "vector.h"

#define MASKED -1e30f

/* Scores [keys, rounded up to 16] to e^(score - most), 0 beyond `keys`; returns their sum. */
static inline float exp_scores(float *scores, int keys, float most) {
    f32x16 sums = splat(0.0f);
    for (int p = 0; p < keys; p += LANES) {
        f32x16 weight =
            choose16(first_lanes(keys - p), exp16(load16(scores + p) - most), splat(0.0f));
        store16(scores + p, weight);
        sums += weight;
    }
    return sum_lanes(sums);
}

#endif
