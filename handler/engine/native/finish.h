/* How a tile of a product ends: bias, GELU or the sum with what is there, and the store. */
#ifndef GPT2_FINISH_H
#define GPT2_FINISH_H

#include "matmul.h"
#include "vector.h"

/* GELU by tanh, as GPT-2 has it ("gelu_new"): x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3).
 */
static inline f32x16 gelu16(f32x16 x) {
    f32x16 minus_2u = x * -1.5957691216f * fma16(x * x, splat(0.044715f), splat(1.0f));
    return x / (exp16(minus_2u) + 1.0f);
}

/* Stores the sums of columns `column` .. `column` + 15 of one row, those below `columns` only. */
static inline void finish16(f32x16 sum, Finish finish, float *row, int column, int columns) {
    float *to = row + column;
    int count = columns - column;
    if (count >= LANES) {
        if (finish == ADD_TO) sum += load16(to);
        if (finish == APPLY_GELU) sum = gelu16(sum);
        store16(to, sum);
        return;
    }
    if (finish == APPLY_GELU) sum = gelu16(sum);
    for (int lane = 0; lane < count; lane++)
        to[lane] = (finish == ADD_TO ? to[lane] : 0.0f) + sum[lane];
}

#endif
