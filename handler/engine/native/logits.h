/* Reading a row of logits, sixteen at a time. */
#ifndef GPT2_LOGITS_H
#define GPT2_LOGITS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "vector.h"

/* Sixteen values from `i` on; -inf beyond `count`. */
static inline f32x16 load_some(const float *values, int32_t i, int32_t count) {
    if (i + LANES <= count) return load16(values + i);
    f32x16 x = splat(-INFINITY);
    memcpy(&x, values + i, (size_t)(count - i) * sizeof *values);
    return x;
}

/* The largest of the values; NaN if one of them is. */
static inline float largest(const float *values, int32_t count) {
    f32x16 most = splat(-INFINITY);
    i32x16 unordered = splati(0);
    for (int32_t i = 0; i < count; i += LANES) {
        f32x16 x = load_some(values, i, count);
        most = max16(x, most);
        unordered |= x != x;
    }
    return any16(unordered) ? NAN : max_lanes(most);
}

#endif
