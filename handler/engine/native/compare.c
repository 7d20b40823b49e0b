#include "compare.h"

#include <math.h>

#include "api.h"
#include "vector.h"

/* Sixteen values from `i` on; `fill` beyond `count`. */
static f32x16 load_filled(const float *values, int32_t i, int32_t count, float fill) {
    if (i + LANES <= count) return load16(values + i);
    f32x16 x = splat(fill);
    memcpy(&x, values + i, (size_t)(count - i) * sizeof *values);
    return x;
}

/* Sums go over blocks of 256 floats lane by lane, and over blocks in doubles, as in sample.c. */
double mean_difference(const float *expected, const float *found, int32_t vocabulary) {
    f32x16 most = splat(-INFINITY), not_finite = splat(0.0f);
    for (int32_t i = 0; i < vocabulary; i += LANES) {
        f32x16 x = load_filled(expected, i, vocabulary, expected[0]);
        most = max16(x, most);
        not_finite = fma16(x, splat(0.0f), not_finite);
    }
    float largest = max_lanes(most);
    f32x16 weights = splat(0.0f), weighted = splat(0.0f);
    double weight_sum = 0.0, weighted_sum = 0.0;
    for (int32_t i = 0; i < vocabulary; i += LANES) {
        f32x16 x = load_filled(expected, i, vocabulary, 0.0f);
        f32x16 y = load_filled(found, i, vocabulary, 0.0f);
        i32x16 counts = first_lanes(vocabulary - i) & (x - largest > -87.0f);
        f32x16 weight = choose16(counts, exp16(x - largest), splat(0.0f));
        weights += weight;
        weighted = fma16(weight, x - y, weighted);
        not_finite = fma16(y, splat(0.0f), not_finite);
        if ((i + LANES) % SAMPLE_BLOCK != 0 && i + LANES < vocabulary) continue;
        weight_sum += (double)sum_lanes(weights);
        weighted_sum += (double)sum_lanes(weighted);
        weights = weighted = splat(0.0f);
    }
    return weighted_sum / weight_sum + (double)sum_lanes(not_finite);
}

EXPORT double gpt2_mean_difference(const float *expected, const float *found, int32_t vocabulary) {
    return mean_difference(expected, found, vocabulary);
}
