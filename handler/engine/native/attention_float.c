/* Attention over floats. Scores are summed channel by channel, means position by position, whatever
 * else is computed beside them. */
#include "attention.h"
#include "dot4.h"
#include "softmax.h"

/* Scores of one query at the 16 positions from `first` on. */
static f32x16 score_block(const float *keys, int channels, const float *query) {
    f32x16 even = splat(0.0f), odd = splat(0.0f);
    for (int c = 0; c < channels; c += 2) {
        even = fma16(splat(query[c]), load16(keys + LANES * c), even);
        odd = fma16(splat(query[c + 1]), load16(keys + LANES * (c + 1)), odd);
    }
    return even + odd;
}

static void attend_one(const Model *model, uint8_t *head, const float *query, float *out, int keys,
                       float scale, float *scores) {
    int channels = model->channels_pad;
    f32x16 most = splat(MASKED);
    for (int p = 0; p < keys; p += LANES) {
        FloatBlock block = float_block(head + (size_t)(p / LANES) * block_stride(model), channels);
        f32x16 score = score_block(block.keys, channels, query) * scale;
        score = choose16(first_lanes(keys - p), score, splat(MASKED));
        store16(scores + p, score);
        most = max16(score, most);
    }
    float sum = exp_scores(scores, keys, max_lanes(most));
    for (int c = 0; c < channels; c += LANES) {
        f32x16 mean = splat(0.0f);
        for (int p = 0; p < keys; p++) {
            FloatBlock block =
                float_block(head + (size_t)(p / LANES) * block_stride(model), channels);
            mean = fma16(splat(scores[p]),
                         load16(block.values + (size_t)(p % LANES) * channels + c), mean);
        }
        store16(out + c, mean / sum);
    }
}

void attend_float(const Model *model, uint8_t *head, const float *query, size_t query_stride,
                  float *out, size_t out_stride, int count, int keys, float scale,
                  AttentionScratch *scratch) {
    for (int i = 0; i < count; i++)
        attend_one(model, head, query + i * query_stride, out + i * out_stride, keys + i, scale,
                   scratch->scores);
}
