/* Attention over floats. Each sum runs over positions or channels in their order, whatever else is
 * computed beside it; queries at once share what is loaded alone. */
#include "attention.h"
#include "dot4.h"
#include "softmax.h"

/* As many sums as hide the latency of each: where one query is alone, of several blocks or vectors.
 */
#define BLOCKS_AT_ONCE 4
#define VECTORS_AT_ONCE 4
#define VECTORS_OF_MANY 2

static inline FloatBlock block_at(const Model *model, uint8_t *head, int position) {
    return float_block(head + (size_t)(position / LANES) * block_stride(model),
                       model->channels_pad);
}

/* Scores of `count` queries at the 16 positions of each of `blocks` blocks, the first of them at
 * `position`. */
ALWAYS_INLINE void score_blocks(int count, int blocks, const Model *model, uint8_t *head,
                                int position, const float *query, size_t query_stride, float scale,
                                float *scores) {
    f32x16 even[QUERY_TILE][BLOCKS_AT_ONCE], odd[QUERY_TILE][BLOCKS_AT_ONCE];
    const float *keys[BLOCKS_AT_ONCE];
    for (int b = 0; b < blocks; b++) keys[b] = block_at(model, head, position + b * LANES).keys;
    for (int i = 0; i < count; i++)
        for (int b = 0; b < blocks; b++) even[i][b] = odd[i][b] = splat(0.0f);
    for (int c = 0; c < model->channels_pad; c += 2) {
        f32x16 first[BLOCKS_AT_ONCE], second[BLOCKS_AT_ONCE];
        for (int b = 0; b < blocks; b++) {
            first[b] = load16(keys[b] + LANES * c);
            second[b] = load16(keys[b] + LANES * (c + 1));
        }
#pragma clang loop unroll(full)
        for (int i = 0; i < count; i++) {
            f32x16 one = splat(query[i * query_stride + c]);
            f32x16 two = splat(query[i * query_stride + c + 1]);
            for (int b = 0; b < blocks; b++) {
                even[i][b] = fma16(one, first[b], even[i][b]);
                odd[i][b] = fma16(two, second[b], odd[i][b]);
            }
        }
    }
    for (int i = 0; i < count; i++)
        for (int b = 0; b < blocks; b++)
            store16(scores + (size_t)i * model->positions_pad + position + b * LANES,
                    (even[i][b] + odd[i][b]) * scale);
}

/* Scores [keys] of one query to weights; returns their sum. What lies beyond may be anything. */
static float weigh(float *scores, int keys) {
    f32x16 most = splat(MASKED);
    for (int p = 0; p < keys; p += LANES) {
        f32x16 score = choose16(first_lanes(keys - p), load16(scores + p), splat(MASKED));
        store16(scores + p, score);
        most = max16(score, most);
    }
    return exp_scores(scores, keys, max_lanes(most));
}

/* `vectors` vectors of 16 channels, from channel `first` on, of `count` weighted means. All queries
 * look at `keys` positions, and each further one at one more. */
ALWAYS_INLINE void mean_values(int count, int vectors, const Model *model, uint8_t *head, int first,
                               int keys, const float *weights, const float *sum, float *out,
                               size_t out_stride) {
    size_t positions = (size_t)model->positions_pad, channels = (size_t)model->channels_pad;
    f32x16 mean[QUERY_TILE][VECTORS_AT_ONCE];
    for (int i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) mean[i][v] = splat(0.0f);
    for (int p = 0; p < keys; p++) {
        const float *values = block_at(model, head, p).values + p % LANES * channels + first;
        f32x16 value[VECTORS_AT_ONCE];
        for (int v = 0; v < vectors; v++) value[v] = load16(values + LANES * v);
#pragma clang loop unroll(full)
        for (int i = 0; i < count; i++) {
            f32x16 weight = splat(weights[i * positions + p]);
            for (int v = 0; v < vectors; v++) mean[i][v] = fma16(weight, value[v], mean[i][v]);
        }
    }
    for (int i = 0; i < count; i++)
        for (int p = keys; p < keys + i; p++) {
            const float *values = block_at(model, head, p).values + p % LANES * channels + first;
            for (int v = 0; v < vectors; v++)
                mean[i][v] = fma16(splat(weights[i * positions + p]), load16(values + LANES * v),
                                   mean[i][v]);
        }
    for (int i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++)
            store16(out + i * out_stride + first + LANES * v, mean[i][v] / sum[i]);
}

ALWAYS_INLINE void attend(int count, const Model *model, uint8_t *head, const float *query,
                          size_t query_stride, float *out, size_t out_stride, int keys, float scale,
                          float *scores) {
    int channels = model->channels_pad, end = keys + count - 1;
    int vectors = count == 1 ? VECTORS_AT_ONCE : VECTORS_OF_MANY;
    float sum[QUERY_TILE];
    int p = 0;
    if (count == 1)
        for (; p + BLOCKS_AT_ONCE * LANES <= keys; p += BLOCKS_AT_ONCE * LANES)
            score_blocks(1, BLOCKS_AT_ONCE, model, head, p, query, query_stride, scale, scores);
    for (; p < end; p += LANES)
        score_blocks(count, 1, model, head, p, query, query_stride, scale, scores);
    for (int i = 0; i < count; i++)
        sum[i] = weigh(scores + (size_t)i * model->positions_pad, keys + i);
    int c = 0;
    for (; c + vectors * LANES <= channels; c += vectors * LANES)
        mean_values(count, vectors, model, head, c, keys, scores, sum, out, out_stride);
    for (; c < channels; c += LANES)
        mean_values(count, 1, model, head, c, keys, scores, sum, out, out_stride);
}

void attend_float(const Model *model, uint8_t *head, const float *query, size_t query_stride,
                  float *out, size_t out_stride, int count, int keys, float scale,
                  AttentionScratch *scratch) {
    if (count == QUERY_TILE) {
        attend(QUERY_TILE, model, head, query, query_stride, out, out_stride, keys, scale,
               scratch->scores);
        return;
    }
    for (int i = 0; i < count; i++)
        attend(1, model, head, query + i * query_stride, query_stride, out + i * out_stride,
               out_stride, keys + i, scale, scratch->scores);
}
