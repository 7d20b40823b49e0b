/* What is done with one row of activations at a time. */
#ifndef GPT2_ROWS_H
#define GPT2_ROWS_H

#include <stdint.h>

/* LayerNorm over the first `width` of `width_pad` floats; the rest of `out` becomes zero.
 * Without a gain the row stays as it is: a part of a model hands its rows on. */
void layer_norm(const float *in, const float *gain, const float *bias, int width, int width_pad,
                float epsilon, float *out);

/* Floats to unsigned bytes between the row's least and largest value (0 among them, so that 0 stays
 * 0). in[i] is about scale * (out[i] - offset). A value that is not finite makes the scale NaN, and
 * with it whatever is computed from the row. */
void quantize_row(const float *in, int length, uint8_t *out, float *scale, int32_t *offset);

#endif
