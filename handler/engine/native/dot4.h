/* The one file that knows instruction sets: sums of four products of bytes.
 *
 * dot4(sum, a, b): for each of 16 lanes, sum + a0 b0 + a1 b1 + a2 b2 + a3 b3, a unsigned, b signed.
 * Exact everywhere if |b| <= 63, or if a <= 127: AVX2 adds two products in 16 bits.
 *
 * TILE_ROWS x TILE_VECTORS accumulators of a matmul's tile and QUERY_TILE queries of attention are
 * as many as the registers hold. Integer sums are exact, so none of these changes a bit of a
 * result.
 */
#ifndef GPT2_DOT4_H
#define GPT2_DOT4_H

#include "vector.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* What is taken from an activation before it is kept as a byte: SDOT multiplies signed bytes alone.
 */
#define ACTIVATION_OFFSET 0

#if defined(__AVX512VNNI__)
#define ISA "avx512-vnni"
#define TILE_ROWS 12
#define TILE_VECTORS 2
#define QUERY_TILE 8
static inline i32x16 dot4(i32x16 sum, u8x64 a, i8x64 b) {
    return (i32x16)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}

#elif defined(__AVX2__)
#define TILE_ROWS 4
#define TILE_VECTORS 1
#define QUERY_TILE 2
#if defined(__AVXVNNI__)
#define ISA "avx-vnni"
static inline __m256i dot4_half(__m256i sum, __m256i a, __m256i b) {
    return _mm256_dpbusd_avx_epi32(sum, a, b);
}
#else
#define ISA "avx2"
static inline __m256i dot4_half(__m256i sum, __m256i a, __m256i b) {
    __m256i pairs = _mm256_maddubs_epi16(a, b);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif
static inline i32x16 dot4(i32x16 sum, u8x64 a, i8x64 b) {
    typedef union {
        i32x16 lanes;
        u8x64 a;
        i8x64 b;
        __m256i half[2];
    } Halves;
    Halves s = {.lanes = sum}, x = {.a = a}, y = {.b = b};
    s.half[0] = dot4_half(s.half[0], x.half[0], y.half[0]);
    s.half[1] = dot4_half(s.half[1], x.half[1], y.half[1]);
    return s.lanes;
}

#elif defined(__aarch64__)
#define TILE_ROWS 6
#define TILE_VECTORS 1
#define QUERY_TILE 3
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define ISA "neon-i8mm"
#define DOT4_QUARTER(s, x, y) vusdotq_s32(s, x, y)
#else
#define ISA "neon-dotprod"
#undef ACTIVATION_OFFSET
#define ACTIVATION_OFFSET 128
#define DOT4_QUARTER(s, x, y) vdotq_s32(s, vreinterpretq_s8_u8(x), y)
#endif
static inline i32x16 dot4(i32x16 sum, u8x64 a, i8x64 b) {
    typedef union {
        i32x16 lanes;
        u8x64 a;
        i8x64 b;
        int32x4_t sum[4];
        uint8x16_t bytes[4];
        int8x16_t signed_bytes[4];
    } Quarters;
    Quarters s = {.lanes = sum}, x = {.a = a}, y = {.b = b};
    for (int i = 0; i < 4; i++) s.sum[i] = DOT4_QUARTER(s.sum[i], x.bytes[i], y.signed_bytes[i]);
    return s.lanes;
}
#endif

/* Whether a tile of so many rows fetches weights ahead of itself. Hardware does so for what is read
 * in order, and better: one row is 12 to 20 % faster without. Narrow tiles of several rows are a
 * fifth faster with it. */
#define PREFETCHES(rows) (TILE_ROWS < 12 && (rows) > 1)

/* Four bytes, sixteen times. */
static inline u8x64 splat4(const uint8_t *from) {
    int32_t four;
    memcpy(&four, from, sizeof four);
    return (u8x64)splati(four);
}

/* CASE(rows) for each height that a tile may have: kernels are compiled for each. */
#if TILE_ROWS == 12
#define TILE_HEIGHTS(CASE) \
    CASE(1)                \
    CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#elif TILE_ROWS == 6
#define TILE_HEIGHTS(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#else
#define TILE_HEIGHTS(CASE) CASE(1) CASE(2) CASE(3) CASE(4)
#endif

#endif
