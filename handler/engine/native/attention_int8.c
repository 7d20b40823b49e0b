/* Attention over bytes, in integers.
 *
 * Queries and softmax's weights are rounded to 14 bits, and kept as two digits of 7 bits each, high
 * and low: value = 128 high + low. Products of digits (0 .. 127) with the cache's bytes are exact
 * in dot4 on every instruction set, and so are their sums. Queries are signed, so 8192 is added to
 * them, and taken out again by the sum of a position's key bytes.
 */
#include "attention.h"
#include "dot4.h"
#include "softmax.h"

#define DIGIT_BITS 7
#define DIGIT_MASK 127
#define QUERY_LIMIT 8191
#define QUERY_OFFSET 8192
#define WEIGHT_LIMIT 16383
/* Where one query is alone: enough sums to hide the latency of each. */
#define BLOCKS_AT_ONCE 4
#define VECTORS_AT_ONCE 4

typedef struct {
    uint8_t high[MAX_CHANNELS], low[MAX_CHANNELS];
    float step; /* what one unit is worth */
} Query;

static void store_digits(i32x16 value, uint8_t *high, uint8_t *low) {
    u8x16 digits = __builtin_convertvector(value >> DIGIT_BITS, u8x16);
    memcpy(high, &digits, sizeof digits);
    digits = __builtin_convertvector(value & DIGIT_MASK, u8x16);
    memcpy(low, &digits, sizeof digits);
}

static void quantize_query(const float *in, int channels, Query *query) {
    Rounding rounding = rounding_of(in, channels, QUERY_LIMIT);
    for (int c = 0; c < channels; c += LANES) {
        i32x16 value =
            clamp16i(round16(load16(in + c) * rounding.units), -QUERY_LIMIT, QUERY_LIMIT);
        store_digits(value + QUERY_OFFSET, query->high + c, query->low + c);
    }
    query->step = rounding.step;
}

/* Scores of `count` queries at the 16 positions of each of `blocks` blocks, the first of them at
 * `position`. The values are needed next, and the blocks behind these: they are fetched meanwhile.
 */
ALWAYS_INLINE void score_blocks(int count, int blocks, uint8_t *head, size_t stride, int channels,
                                int position, const Query *queries, float scale, float *scores,
                                size_t positions) {
    i32x16 high[QUERY_TILE][BLOCKS_AT_ONCE], low[QUERY_TILE][BLOCKS_AT_ONCE];
    for (int i = 0; i < count; i++)
        for (int b = 0; b < blocks; b++) high[i][b] = low[i][b] = splati(0);
    uint8_t *at = head + (size_t)(position / LANES) * stride;
    for (int c = 0; c < channels; c += 4) {
        i8x64 bytes[BLOCKS_AT_ONCE];
        for (int b = 0; b < blocks; b++) {
            const uint8_t *keys = at + b * stride + LANES * c;
            bytes[b] = load64(keys);
            __builtin_prefetch(keys + LANES * channels);
            __builtin_prefetch(keys + blocks * stride);
        }
#pragma clang loop unroll(full)
        for (int i = 0; i < count; i++) {
            u8x64 high_digits = splat4(queries[i].high + c);
            u8x64 low_digits = splat4(queries[i].low + c);
            for (int b = 0; b < blocks; b++) {
                high[i][b] = dot4(high[i][b], high_digits, bytes[b]);
                low[i][b] = dot4(low[i][b], low_digits, bytes[b]);
            }
        }
    }
    for (int b = 0; b < blocks; b++) {
        ByteBlock block = byte_block(at + b * stride, channels);
        i32x16 offset = load16i(block.key_sum) * QUERY_OFFSET;
        f32x16 key_scale = load16(block.key_scale);
        for (int i = 0; i < count; i++) {
            i32x16 exact = (high[i][b] << DIGIT_BITS) + low[i][b] - offset;
            f32x16 score =
                __builtin_convertvector(exact, f32x16) * (queries[i].step * scale) * key_scale;
            store16(scores + i * positions + position + b * LANES, score);
        }
    }
}

/* Scores [keys] of one query to digits of its weights, times the values' scales; 0 up to `end`.
 * Returns what one unit is worth in the weighted mean. */
static float weigh(const Model *model, uint8_t *head, float *scores, int keys, int end,
                   uint8_t *high, uint8_t *low) {
    f32x16 most = splat(MASKED);
    for (int p = 0; p < keys; p += LANES)
        most = max16(choose16(first_lanes(keys - p), load16(scores + p), splat(MASKED)), most);
    float sum = exp_scores(scores, keys, max_lanes(most));
    f32x16 not_finite = splat(0.0f);
    most = splat(0.0f);
    for (int p = 0; p < keys; p += LANES) {
        ByteBlock block =
            byte_block(head + (size_t)(p / LANES) * block_stride(model), model->channels_pad);
        f32x16 weight = load16(scores + p) * load16(block.value_scale);
        /* What lies beyond may be anything. */
        weight = choose16(first_lanes(keys - p), weight, splat(0.0f));
        store16(scores + p, weight);
        most = max16(weight, most);
        not_finite = fma16(weight, splat(0.0f), not_finite);
    }
    float step = max_lanes(most) / (float)WEIGHT_LIMIT;
    float units = units_of(step);
    int p = 0;
    for (; p < keys; p += LANES)
        store_digits(clamp16i(round16(load16(scores + p) * units), 0, WEIGHT_LIMIT), high + p,
                     low + p);
    for (; p < end; p += LANES) store_digits(splati(0), high + p, low + p);
    return (step + sum_lanes(not_finite)) / sum;
}

/* `vectors` vectors of 16 channels, from channel `first` on, of `count` weighted means over `end`
 * positions. */
ALWAYS_INLINE void mean_values(int count, int vectors, uint8_t *head, size_t stride, int channels,
                               int first, int end, const AttentionScratch *scratch,
                               size_t positions, const float *step, float *out, size_t out_stride) {
    i32x16 high[QUERY_TILE][VECTORS_AT_ONCE], low[QUERY_TILE][VECTORS_AT_ONCE];
    for (int i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) high[i][v] = low[i][v] = splati(0);
    for (int p = 0; p < end; p += 4) {
        const uint8_t *values = head + (size_t)(p / LANES) * stride + LANES * channels;
        values += p % LANES * channels + 4 * first;
        i8x64 bytes[VECTORS_AT_ONCE];
        for (int v = 0; v < vectors; v++) bytes[v] = load64(values + 64 * v);
#pragma clang loop unroll(full)
        for (int i = 0; i < count; i++) {
            u8x64 high_digits = splat4(scratch->high + i * positions + p);
            u8x64 low_digits = splat4(scratch->low + i * positions + p);
            for (int v = 0; v < vectors; v++) {
                high[i][v] = dot4(high[i][v], high_digits, bytes[v]);
                low[i][v] = dot4(low[i][v], low_digits, bytes[v]);
            }
        }
    }
    for (int i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) {
            f32x16 sum = fma16(__builtin_convertvector(high[i][v], f32x16), splat(128.0f),
                               __builtin_convertvector(low[i][v], f32x16));
            store16(out + i * out_stride + first + LANES * v, sum * step[i]);
        }
}

ALWAYS_INLINE void attend(int count, const Model *model, uint8_t *head, const float *query,
                          size_t query_stride, float *out, size_t out_stride, int keys, float scale,
                          AttentionScratch *scratch) {
    int channels = model->channels_pad, most = keys + count - 1;
    int end = (most + LANES - 1) / LANES * LANES;
    size_t positions = (size_t)model->positions_pad, stride = block_stride(model);
    float *scores = scratch->scores;
    Query queries[QUERY_TILE];
    float step[QUERY_TILE];
    for (int i = 0; i < count; i++) quantize_query(query + i * query_stride, channels, &queries[i]);
    int p = 0;
    if (count == 1)
        for (; p + BLOCKS_AT_ONCE * LANES <= end; p += BLOCKS_AT_ONCE * LANES)
            score_blocks(1, BLOCKS_AT_ONCE, head, stride, channels, p, queries, scale, scores,
                         positions);
    for (; p < end; p += LANES)
        score_blocks(count, 1, head, stride, channels, p, queries, scale, scores, positions);
    for (int i = 0; i < count; i++)
        step[i] = weigh(model, head, scores + i * positions, keys + i, end,
                        scratch->high + i * positions, scratch->low + i * positions);
    int c = 0;
    if (count == 1)
        for (; c + VECTORS_AT_ONCE * LANES <= channels; c += VECTORS_AT_ONCE * LANES)
            mean_values(1, VECTORS_AT_ONCE, head, stride, channels, c, end, scratch, positions,
                        step, out, out_stride);
    for (; c < channels; c += LANES)
        mean_values(count, 1, head, stride, channels, c, end, scratch, positions, step, out,
                    out_stride);
}

void attend_int8(const Model *model, uint8_t *head, const float *query, size_t query_stride,
                 float *out, size_t out_stride, int count, int keys, float scale,
                 AttentionScratch *scratch) {
    if (count == QUERY_TILE) {
        attend(QUERY_TILE, model, head, query, query_stride, out, out_stride, keys, scale, scratch);
        return;
    }
    for (int i = 0; i < count; i++)
        attend(1, model, head, query + i * query_stride, query_stride, out + i * out_stride,
               out_stride, keys + i, scale, scratch);
}
