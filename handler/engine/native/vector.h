/* Sixteen floats or integers as one type, and what is computed with them.
 *
 * The compiler makes one AVX-512 register, two AVX or four NEON ones of a vector. The order of
 * every sum is written down here and in the kernels, so that each instruction set gives the same
 * bits. No function of libm is used but sqrtf, which IEEE 754 defines exactly; a fused multiply-add
 * is only where `fma16` stands (the build turns contraction off).
 */
#ifndef GPT2_VECTOR_H
#define GPT2_VECTOR_H

#include <stdint.h>
#include <string.h>

#define LANES 16

/* Of kernels that are compiled once for each constant they are called with. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef _Float16 f16x16 __attribute__((vector_size(32)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef int8_t i8x64 __attribute__((vector_size(64)));
typedef uint8_t u8x64 __attribute__((vector_size(64)));

static inline f32x16 load16(const float *from) {
    f32x16 vector;
    memcpy(&vector, from, sizeof vector);
    return vector;
}

static inline void store16(float *to, f32x16 vector) {
    memcpy(to, &vector, sizeof vector);
}

static inline i32x16 load16i(const int32_t *from) {
    i32x16 vector;
    memcpy(&vector, from, sizeof vector);
    return vector;
}

static inline i8x64 load64(const void *from) {
    i8x64 vector;
    memcpy(&vector, from, sizeof vector);
    return vector;
}

static inline f32x16 splat(float value) {
    return (f32x16){} + value;
}
static inline i32x16 splati(int32_t value) {
    return (i32x16){} + value;
}

/* a * b + c with one rounding. */
static inline f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) {
    return __builtin_elementwise_fma(a, b, c);
}

/* Lanes of `a` where `mask` is -1, of `b` where it is 0. */
static inline f32x16 choose16(i32x16 mask, f32x16 a, f32x16 b) {
    return (f32x16)(((i32x16)a & mask) | ((i32x16)b & ~mask));
}

/* The larger one; `b` where either is no number, on every instruction set. */
static inline f32x16 max16(f32x16 a, f32x16 b) {
    return choose16(a > b, a, b);
}
static inline f32x16 min16(f32x16 a, f32x16 b) {
    return choose16(a < b, a, b);
}

static inline i32x16 clamp16i(i32x16 x, int32_t low, int32_t high) {
    return __builtin_elementwise_min(__builtin_elementwise_max(x, splati(low)), splati(high));
}

/* -1 in the first `count` lanes, 0 in the others; `count` may lie outside 0 .. 16. */
static inline i32x16 first_lanes(int count) {
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return lane < splati(count);
}

/* Whether any lane of a mask is set. */
static inline int any16(i32x16 mask) {
    return __builtin_reduce_or(mask) != 0;
}

/* Folds sixteen lanes into one by halves: lane i with lane i + 8, then + 4, + 2, + 1. */
#define FOLD(vector, combine)                                                                      \
    ({                                                                                             \
        f32x16 fold_ = (vector);                                                                   \
        fold_ = combine(fold_, __builtin_shufflevector(fold_, fold_, 8, 9, 10, 11, 12, 13, 14, 15, \
                                                       0, 1, 2, 3, 4, 5, 6, 7));                   \
        fold_ = combine(fold_, __builtin_shufflevector(fold_, fold_, 4, 5, 6, 7, 0, 1, 2, 3, 12,   \
                                                       13, 14, 15, 8, 9, 10, 11));                 \
        fold_ = combine(fold_, __builtin_shufflevector(fold_, fold_, 2, 3, 0, 1, 6, 7, 4, 5, 10,   \
                                                       11, 8, 9, 14, 15, 12, 13));                 \
        fold_ = combine(fold_, __builtin_shufflevector(fold_, fold_, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, \
                                                       11, 10, 13, 12, 15, 14));                   \
        fold_[0];                                                                                  \
    })

static inline f32x16 add16(f32x16 a, f32x16 b) {
    return a + b;
}
static inline float sum_lanes(f32x16 vector) {
    return FOLD(vector, add16);
}
static inline float max_lanes(f32x16 vector) {
    return FOLD(vector, max16);
}
static inline float min_lanes(f32x16 vector) {
    return FOLD(vector, min16);
}

/* To the nearest integer, halves to even; right for |x| < 2^22: adding 1.5 * 2^23 leaves the
 * integer in the low bits of the float. */
static inline i32x16 round16(f32x16 x) {
    const f32x16 magic = splat(12582912.0f);
    return (i32x16)(x + magic) - (i32x16)magic;
}

/* e^x within 2 units in the last place for -87 <= x <= 88, clamped there; NaN stays NaN. Cephes'
 * expf: x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial of the fifth degree in r. */
static inline f32x16 exp16(f32x16 x) {
    x = choose16(x < -87.0f, splat(-87.0f), x);
    x = choose16(x > 88.0f, splat(88.0f), x);
    i32x16 n = round16(x * 1.44269504f);
    f32x16 n_float = __builtin_convertvector(n, f32x16);
    f32x16 r = fma16(n_float, splat(-0.693359375f), x);
    r = fma16(n_float, splat(2.12194440e-4f), r);
    f32x16 p = splat(1.9875691500e-4f);
    p = fma16(p, r, splat(1.3981999507e-3f));
    p = fma16(p, r, splat(8.3334519073e-3f));
    p = fma16(p, r, splat(4.1665795894e-2f));
    p = fma16(p, r, splat(1.6666665459e-1f));
    p = fma16(p, r, splat(5.0000001201e-1f));
    p = fma16(r * r, p, r + 1.0f);
    return p * (f32x16)((n + 127) << 23);
}

/* How many steps of quantization make 1. Steps too small for that are taken for zero. */
static inline float units_of(float step) {
    return step > 1e-30f ? 1.0f / step : 0.0f;
}

/* Rounding to integers between -limit and limit: units make 1, and one unit is worth `step`, which
 * is NaN if a value is not finite. */
typedef struct {
    float units, step;
} Rounding;

static inline Rounding rounding_of(const float *in, int length, int limit) {
    f32x16 most = splat(0.0f), not_finite = splat(0.0f);
    for (int k = 0; k < length; k += LANES) {
        f32x16 x = load16(in + k);
        most = max16(max16(x, -x), most);
        not_finite = fma16(x, splat(0.0f), not_finite);
    }
    float step = max_lanes(most) / (float)limit;
    return (Rounding){units_of(step), step + sum_lanes(not_finite)};
}

#endif
