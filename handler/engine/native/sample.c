/* Penalties, then temperature, top_k, top_p, min_p, then the choice by inverse transform.
 *
 * Sums are taken in blocks of 256 floats, lane by lane, and over blocks in doubles: always in the
 * same order, so that a row's token depends on the row, its options and its random number alone.
 */
#include "sample.h"

#include <math.h>
#include <string.h>

#include "likeliest.h"
#include "logits.h"
#include "vector.h"

/* Takes the logits in, with penalties and bias. Repetition divides positive and multiplies negative
 * logits of all tokens seen (CTRL, Keskar et al. 2019); presence and frequency subtract for tokens
 * of the text, as in OpenAI's API. */
static void penalize(Sampler *sampler, const float *logits, const Sampling *options) {
    float *values = sampler->values;
    memcpy(values, logits, (size_t)sampler->vocabulary * sizeof *values);
    float penalty = options->repetition_penalty;
    for (int32_t i = 0; i < options->seen_count; i++) {
        float *value = values + options->seen_token[i], times = options->seen_times[i];
        if (penalty != 1.0f) *value = *value > 0.0f ? *value / penalty : *value * penalty;
        *value -= options->frequency_penalty * times;
        if (times > 0.0f) *value -= options->presence_penalty;
    }
    for (int32_t i = 0; i < options->bias_count; i++)
        values[options->bias_token[i]] += options->bias[i];
}

/* Leaves the logits of tokens that may come, -inf in the place of all others. */
static void mask(Sampler *sampler, const float *logits, const uint32_t *allowed) {
    i32x16 bits;
    for (int lane = 0; lane < LANES; lane++) bits[lane] = 1 << lane;
    for (int32_t i = 0; i < sampler->vocabulary; i += LANES) {
        int32_t word = (int32_t)(allowed[i / 32] >> i % 32 & 0xffff);
        f32x16 x = load_some(logits, i, sampler->vocabulary);
        store16(sampler->values + i, choose16((splati(word) & bits) != 0, x, splat(-INFINITY)));
    }
}

static int32_t first_equal(const float *values, int32_t count, float wanted) {
    int32_t i = 0;
    while (!any16(load_some(values, i, count) == wanted)) i += LANES;
    while (values[i] != wanted) i++;
    return i;
}

/* Weights e^((logit - most) / temperature), 0 behind the last; and of each block what they sum up
 * to and the largest. */
static void weigh(Sampler *sampler, const float *logits, float most, float temperature) {
    float inverse = 1.0f / temperature;
    for (int32_t start = 0; start < sampler->vocabulary; start += SAMPLE_BLOCK) {
        f32x16 sums = splat(0.0f), largest = splat(0.0f);
        for (int32_t i = start; i < start + SAMPLE_BLOCK; i += LANES) {
            f32x16 weight = splat(0.0f);
            if (i < sampler->vocabulary) {
                f32x16 x = (load_some(logits, i, sampler->vocabulary) - most) * inverse;
                /* exp16 stops at e^-87; what is that unlikely, or masked by -inf, weighs nothing.
                 */
                weight = choose16(x > -87.0f, exp16(x), splat(0.0f));
            }
            store16(sampler->values + i, weight);
            sums += weight;
            largest = max16(weight, largest);
        }
        sampler->block_sum[start / SAMPLE_BLOCK] = (double)sum_lanes(sums);
        sampler->block_most[start / SAMPLE_BLOCK] = max_lanes(largest);
    }
}

static double total_of(const Sampler *sampler) {
    double total = 0.0;
    for (int32_t i = 0; i < sampler->vocabulary; i += SAMPLE_BLOCK)
        total += sampler->block_sum[i / SAMPLE_BLOCK];
    return total;
}

/* The last of the tokens that top_k, top_p (Holtzman et al. 2019) and min_p leave. */
static Ranked find_last(Sampler *sampler, const Sampling *options) {
    sampler->total = total_of(sampler);
    Ranked last = {sampler->total, sampler->vocabulary, 0};
    if (options->top_k > 0 && options->top_k < sampler->vocabulary)
        last = find_ranked(sampler, (Goal){.count = options->top_k});
    if (options->top_p < 1.0f) {
        Goal goal = {.weight = (double)options->top_p * last.sum, .count = 1};
        Ranked nucleus = find_ranked(sampler, goal);
        if (nucleus.count < last.count) last = nucleus;
    }
    if (options->min_p > 0.0f) {
        Above above[BOUNDS];
        for (int n = 0; n < BOUNDS; n++)
            above[n].bound = options->min_p < 1.0f ? options->min_p : 1.0f;
        measure(sampler, above);
        if (above->count < last.count) last = (Ranked){above->sum, above->count, 0};
    }
    return last;
}

/* The token at which the running sum over those up to `last` passes `uniform` of the whole. */
static int32_t draw_likely(Sampler *sampler, Ranked last, double uniform) {
    Goal goal = {.weight = uniform * last.sum, .count = 1, .is_more = true};
    Ranked drawn = find_ranked(sampler, goal);
    if (drawn.count <= last.count) return drawn.token;
    return find_ranked(sampler, (Goal){.count = last.count}).token; /* rounding left it behind */
}

/* The same over all tokens in the order of their ids: block by block, then within. */
static int32_t draw_from_all(const Sampler *sampler, double uniform) {
    const float *values = sampler->values;
    double point = uniform * total_of(sampler), sum = 0.0;
    int32_t last = 0; /* rounding may leave the point behind them all */
    for (int32_t i = 0; i < sampler->vocabulary; i += SAMPLE_BLOCK) {
        double block = sampler->block_sum[i / SAMPLE_BLOCK];
        if (block == 0.0) continue;
        double before = sum;
        for (int32_t j = i; sum + block > point && j < i + SAMPLE_BLOCK; j++) {
            before += (double)values[j];
            if (values[j] > 0.0f) last = j;
            if (before > point && values[j] > 0.0f) return j;
        }
        if (sum + block > point) return last;
        sum += block;
        for (int32_t j = i; j < i + SAMPLE_BLOCK; j++)
            if (values[j] > 0.0f) last = j;
    }
    return last;
}

int32_t sample(Sampler *sampler, const float *logits, const Sampling *options) {
    bool is_greedy = options->temperature < GREEDY_BELOW;
    if (options->seen_count > 0 || options->bias_count > 0) {
        penalize(sampler, logits, options);
        logits = sampler->values;
    }
    if (options->allowed != NULL) {
        mask(sampler, logits, options->allowed);
        logits = sampler->values;
    }
    float most = largest(logits, sampler->vocabulary);
    if (!(most > -INFINITY && most < INFINITY)) return NOT_FINITE;
    if (is_greedy) return first_equal(logits, sampler->vocabulary, most);
    weigh(sampler, logits, most, options->temperature);
    bool is_restricted = options->top_p < 1.0f || options->min_p > 0.0f ||
                         (options->top_k > 0 && options->top_k < sampler->vocabulary);
    sampler->drawn_count = sampler->vocabulary;
    sampler->drawn_weight = total_of(sampler);
    if (!is_restricted) return draw_from_all(sampler, options->uniform);
    sampler->listed = (Range){0};
    Ranked last = find_last(sampler, options);
    sampler->drawn_count = last.count;
    sampler->drawn_weight = last.sum;
    return draw_likely(sampler, last, options->uniform);
}
