#include "rows.h"

#include <math.h>

#include "dot4.h"

#define BYTE_MAX_VALUE 255

void layer_norm(const float *in, const float *gain, const float *bias, int width, int width_pad,
                float epsilon, float *out) {
    if (gain == NULL) {
        memmove(out, in, (size_t)width_pad * sizeof *out);
        return;
    }
    f32x16 sums = splat(0.0f);
    for (int k = 0; k < width_pad; k += LANES)
        sums += load16(in + k); /* the rest of the row is zero */
    float mean = sum_lanes(sums) / (float)width;
    f32x16 squares = splat(0.0f);
    for (int k = 0; k < width_pad; k += LANES) {
        f32x16 deviation = choose16(first_lanes(width - k), load16(in + k) - mean, splat(0.0f));
        squares = fma16(deviation, deviation, squares);
    }
    float inverse = 1.0f / sqrtf(sum_lanes(squares) / (float)width + epsilon);
    for (int k = 0; k < width_pad; k += LANES) {
        f32x16 normal = (load16(in + k) - mean) * inverse;
        f32x16 scaled = fma16(normal, load16(gain + k), load16(bias + k));
        store16(out + k, choose16(first_lanes(width - k), scaled, splat(0.0f)));
    }
}

void quantize_row(const float *in, int length, uint8_t *out, float *scale, int32_t *offset) {
    f32x16 least = splat(0.0f), most = splat(0.0f), not_finite = splat(0.0f);
    for (int k = 0; k < length; k += LANES) {
        f32x16 x = load16(in + k);
        least = min16(x, least);
        most = max16(x, most);
        not_finite = fma16(x, splat(0.0f), not_finite); /* 0, or NaN for ever */
    }
    float low = min_lanes(least);
    float step = (max_lanes(most) - low) / (float)BYTE_MAX_VALUE;
    float units = units_of(step);
    int32_t zero = clamp16i(round16(splat(-low * units)), 0, BYTE_MAX_VALUE)[0];
    for (int k = 0; k < length; k += LANES) {
        i32x16 value = clamp16i(round16(load16(in + k) * units) + zero, 0, BYTE_MAX_VALUE);
        u8x16 bytes = __builtin_convertvector(value - ACTIVATION_OFFSET, u8x16);
        memcpy(out + k, &bytes, sizeof bytes);
    }
    *scale = step + sum_lanes(not_finite);
    *offset = zero - ACTIVATION_OFFSET;
}
