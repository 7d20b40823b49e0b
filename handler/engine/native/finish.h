/* How a tile of a product ends: bias, activation or the sum with what is there, and the store. */
#ifndef GPT2_FINISH_H
#define GPT2_FINISH_H

#include "matmul.h"
#include "vector.h"

/* GELU by tanh, as GPT-2 has it ("gelu_new"): x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3).
 */
static inline f32x16 gelu_tanh16(f32x16 x) {
    f32x16 minus_2u = x * -1.5957691216f * fma16(x * x, splat(0.044715f), splat(1.0f));
    return x / (exp16(minus_2u) + 1.0f);
}

/* GELU as it is defined ("gelu"): x P(X <= x) for a normal X. With z = |x| / sqrt(2) the tail
 * beyond |x| is erfc(z) / 2 = t q(t) e^(-z^2), t = 1 / (1 + 0.4 z), q of the eighth degree:
 * within 1.3e-7 of itself for every z. */
static inline f32x16 gelu_erf16(f32x16 x) {
    f32x16 z = max16(x, -x) * 0.70710678f;
    f32x16 t = 1.0f / fma16(z, splat(0.4f), splat(1.0f));
    f32x16 q = splat(2.513633296e-02f);
    q = fma16(q, t, splat(-9.147195518e-02f));
    q = fma16(q, t, splat(8.457766473e-02f));
    q = fma16(q, t, splat(-2.834073734e-03f));
    q = fma16(q, t, splat(7.073054463e-02f));
    q = fma16(q, t, splat(8.426691592e-02f));
    q = fma16(q, t, splat(1.039219350e-01f));
    q = fma16(q, t, splat(1.128347591e-01f));
    q = fma16(q, t, splat(1.128379330e-01f));
    f32x16 beyond = x * (t * q * exp16(-z * z));
    return choose16(x > 0.0f, x - beyond, beyond);
}

static inline f32x16 activate16(f32x16 x, Finish finish) {
    switch (finish) {
        case GELU_TANH:
            return gelu_tanh16(x);
        case GELU_ERF:
            return gelu_erf16(x);
        case RELU:
            return max16(splat(0.0f), x); /* NaN stays */
        case SILU:
            return x / (exp16(-x) + 1.0f);
        default:
            return x;
    }
}

/* Stores the sums of columns `column` .. `column` + 15 of one row, those below `columns` only. */
static inline void finish16(f32x16 sum, Finish finish, float *row, int column, int columns) {
    float *to = row + column;
    int count = columns - column;
    if (count >= LANES) {
        if (finish == ADD_TO) sum += load16(to);
        store16(to, activate16(sum, finish));
        return;
    }
    sum = activate16(sum, finish);
    for (int lane = 0; lane < count; lane++)
        to[lane] = (finish == ADD_TO ? to[lane] : 0.0f) + sum[lane];
}

/* Ends sixteen sums of bytes times bytes: exact up to here, then one scale a row and one a column.
 */
static inline void finish_integers(const Linear *linear, i32x16 sum, const Activations *in, int row,
                                   float *out, int column, Finish finish) {
    i32x16 exact = sum - load16i(linear->sum + column) * in->offset[row];
    f32x16 scaled = __builtin_convertvector(exact, f32x16) * in->scale[row];
    f32x16 value = fma16(scaled, load16(linear->scale + column), load16(linear->bias + column));
    finish16(value, finish, out, column, linear->outputs);
}

#endif
