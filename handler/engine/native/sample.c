/* Penalties, then temperature, top_k, top_p, min_p, then the choice by inverse transform.
 *
 * Sums are taken in blocks of 256 floats, lane by lane, and over blocks in doubles: always in the
 * same order, so that a row's token depends on the row, its options and its random number alone.
 */
#include "sample.h"

#include <math.h>
#include <string.h>

#include "vector.h"

#define GREEDY_BELOW                                                            \
    1e-5f /* dividing by less overflows; the likeliest token has all the weight \
           */
#define RADIX_BITS 11
#define RADIX (1 << RADIX_BITS)
#define RADIX_PASSES 3

/* Weights that divide likely tokens from others: only what lies above the highest one that will do
 * is sorted. */
#define LIMITS 8
static const float LIMIT[LIMITS] = {0x1p-2f,  0x1p-4f,  0x1p-6f,  0x1p-9f,
                                    0x1p-12f, 0x1p-16f, 0x1p-22f, 0.0f};

static int32_t padded_size(int32_t count) {
    return (count + SAMPLE_BLOCK - 1) / SAMPLE_BLOCK * SAMPLE_BLOCK;
}

/* Takes the logits in, with penalties and bias. Repetition divides positive and multiplies negative
 * logits of all tokens seen (CTRL, Keskar et al. 2019); presence and frequency subtract for tokens
 * of the text, as in OpenAI's API. */
static void penalize(Sampler *sampler, const float *logits, const Sampling *options) {
    float *values = sampler->values;
    memcpy(values, logits, (size_t)sampler->vocabulary * sizeof *values);
    for (int32_t i = sampler->vocabulary; i < padded_size(sampler->vocabulary); i++)
        values[i] = -INFINITY;
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

/* Sixteen values from `i` on; -inf beyond `count`. */
static f32x16 load_some(const float *values, int32_t i, int32_t count) {
    if (i + LANES <= count) return load16(values + i);
    f32x16 x = splat(-INFINITY);
    memcpy(&x, values + i, (size_t)(count - i) * sizeof *values);
    return x;
}

/* The largest of the values; NaN if one of them is. */
static float largest(const float *values, int32_t count) {
    f32x16 most = splat(-INFINITY);
    i32x16 unordered = splati(0);
    for (int32_t i = 0; i < count; i += LANES) {
        f32x16 x = load_some(values, i, count);
        most = max16(x, most);
        unordered |= x != x;
    }
    return any16(unordered) ? NAN : max_lanes(most);
}

static int32_t first_equal(const float *values, int32_t count, float wanted) {
    int32_t i = 0;
    while (!any16(load_some(values, i, count) == wanted)) i += LANES;
    while (values[i] != wanted) i++;
    return i;
}

/* Values to e^((value - most) / temperature). */
static void weigh(float *values, int32_t count, float most, float temperature) {
    float inverse = 1.0f / temperature;
    for (int32_t i = 0; i < count; i += LANES) {
        f32x16 x = (load16(values + i) - most) * inverse;
        /* exp16 stops at e^-87; what is that unlikely, or masked by -inf, weighs nothing. */
        store16(values + i, choose16(x > -87.0f, exp16(x), splat(0.0f)));
    }
}

/* Keys in the order of floats that are not negative, the largest first. */
static uint32_t descending_key(float weight) {
    uint32_t bits;
    memcpy(&bits, &weight, sizeof bits);
    return ~bits;
}

/* Sorts candidates by weight, largest first; equal ones stay in their order. The result is in
 * `from`. */
static void sort(Candidate *from, Candidate *to, int32_t count) {
    for (int pass = 0; pass < RADIX_PASSES; pass++) {
        int32_t start[RADIX + 1] = {0};
        int shift = pass * RADIX_BITS;
        for (int32_t i = 0; i < count; i++)
            start[(descending_key(from[i].weight) >> shift & (RADIX - 1)) + 1]++;
        for (int bin = 0; bin < RADIX; bin++) start[bin + 1] += start[bin];
        for (int32_t i = 0; i < count; i++)
            to[start[descending_key(from[i].weight) >> shift & (RADIX - 1)]++] = from[i];
        Candidate *held = from;
        from = to;
        to = held;
    }
    memcpy(to, from, (size_t)count * sizeof *to); /* three passes end in the other array */
}

static double block_sum(const float *values) {
    f32x16 sums = splat(0.0f);
    for (int i = 0; i < SAMPLE_BLOCK; i += LANES) sums += load16(values + i);
    return (double)sum_lanes(sums);
}

static double total_of(const float *values, int32_t count) {
    double total = 0.0;
    for (int32_t i = 0; i < count; i += SAMPLE_BLOCK) total += block_sum(values + i);
    return total;
}

/* Lists the tokens that weigh at least `bound`, in the order of their ids. */
static int32_t list_above(Sampler *sampler, float bound) {
    int32_t found = 0;
    for (int32_t i = 0; i < sampler->vocabulary; i += LANES) {
        if (!any16(load16(sampler->values + i) >= bound)) continue;
        int32_t end = i + LANES < sampler->vocabulary ? i + LANES : sampler->vocabulary;
        for (int32_t token = i; token < end; token++)
            if (sampler->values[token] >= bound && sampler->values[token] > 0.0f)
                sampler->list[found++] = (Candidate){sampler->values[token], token};
    }
    return found;
}

static double sum_of(const Candidate *list, int32_t count) {
    double sum = 0.0;
    for (int32_t i = 0; i < count; i++) sum += (double)list[i].weight;
    return sum;
}

/* The fewest candidates of a sorted list that together weigh `wanted` (Holtzman et al. 2019). */
static int32_t nucleus(const Candidate *sorted, int32_t count, double wanted) {
    double sum = 0.0;
    for (int32_t i = 0; i < count; i++) {
        sum += (double)sorted[i].weight;
        if (sum >= wanted) return i + 1;
    }
    return count;
}

/* The highest limit above which there are `tokens` of them that together weigh `weight`. */
static float limit_for(const Sampler *sampler, int32_t tokens, double weight) {
    f32x16 sums[LIMITS];
    i32x16 counts[LIMITS];
    for (int n = 0; n < LIMITS; n++) {
        sums[n] = splat(0.0f);
        counts[n] = splati(0);
    }
    for (int32_t i = 0; i < sampler->vocabulary; i += LANES) {
        f32x16 x = load16(sampler->values + i);
        for (int n = 0; n < LIMITS - 1; n++) {
            i32x16 above = x >= LIMIT[n];
            sums[n] += choose16(above, x, splat(0.0f));
            counts[n] -= above;
        }
    }
    for (int n = 0; n < LIMITS - 1; n++) {
        int32_t count = 0;
        for (int lane = 0; lane < LANES; lane++) count += counts[n][lane];
        if (count >= tokens && (double)sum_lanes(sums[n]) >= weight) return LIMIT[n];
    }
    return LIMIT[LIMITS - 1];
}

/* Makes the sorted list of the tokens that top_k and top_p leave. */
static int32_t restrict_list(Sampler *sampler, const Sampling *options) {
    bool has_top_k = options->top_k > 0 && options->top_k < sampler->vocabulary;
    double wanted = 0.0;
    if (!has_top_k)
        wanted =
            (double)options->top_p * total_of(sampler->values, padded_size(sampler->vocabulary));
    float limit = limit_for(sampler, has_top_k ? options->top_k : 0, wanted);
    int32_t count = list_above(sampler, limit);
    sort(sampler->list, sampler->sorted, count);
    if (has_top_k) {
        if (count > options->top_k) count = options->top_k;
        wanted = (double)options->top_p * sum_of(sampler->list, count);
    }
    return options->top_p < 1.0f ? nucleus(sampler->list, count, wanted) : count;
}

/* The candidate at which the running sum passes `uniform` of the whole. */
static int32_t draw_from_list(const Candidate *list, int32_t count, double uniform) {
    double point = uniform * sum_of(list, count), sum = 0.0;
    for (int32_t i = 0; i < count; i++) {
        sum += (double)list[i].weight;
        if (sum > point) return list[i].token;
    }
    return list[count - 1].token;
}

/* The same over all tokens: block by block, then within. */
static int32_t draw_from_all(const float *values, int32_t count, double uniform) {
    double point = uniform * total_of(values, count), sum = 0.0;
    int32_t last = 0; /* rounding may leave the point behind them all */
    for (int32_t i = 0; i < count; i += SAMPLE_BLOCK) {
        double block = block_sum(values + i);
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
    if (!is_greedy || options->seen_count > 0 || options->bias_count > 0) {
        penalize(sampler, logits, options);
        logits = sampler->values;
    }
    float most = largest(logits, sampler->vocabulary);
    if (!(most > -INFINITY && most < INFINITY)) return NOT_FINITE;
    if (is_greedy) return first_equal(logits, sampler->vocabulary, most);
    int32_t count = padded_size(sampler->vocabulary);
    weigh(sampler->values, count, most, options->temperature);
    bool is_restricted = options->top_p < 1.0f || options->min_p > 0.0f ||
                         (options->top_k > 0 && options->top_k < sampler->vocabulary);
    if (!is_restricted) return draw_from_all(sampler->values, count, options->uniform);
    int32_t left = restrict_list(sampler, options);
    while (left > 1 && sampler->list[left - 1].weight < options->min_p) left--;
    return draw_from_list(sampler->list, left, options->uniform);
}

/* ln x for x > 0: x = m 2^n, ln m = 2 artanh((m - 1) / (m + 1)) by its series. */
static double natural_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffff) | 0x3ff0000000000000;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        exponent++;
    }
    double s = (m - 1.0) / (m + 1.0), square = s * s, series = 0.0;
    for (int power = 23; power > 0; power -= 2) series = series * square + 1.0 / power;
    return exponent * 0.69314718055994531 + 2.0 * s * series;
}

/* The likeliest tokens, likeliest first: insertion into a short list. */
static void find_top(const float *logits, int32_t vocabulary, int32_t top, int32_t *token) {
    int32_t found = 0;
    float least = -INFINITY; /* of a full list; what is no larger does not come into it */
    for (int32_t i = 0; i < vocabulary; i += LANES) {
        if (found == top && !any16(load_some(logits, i, vocabulary) > least)) continue;
        for (int32_t t = i; t < i + LANES && t < vocabulary; t++) {
            if (found == top && !(logits[t] > least)) continue;
            int32_t place = found < top ? found++ : top - 1;
            for (; place > 0 && logits[token[place - 1]] < logits[t]; place--)
                token[place] = token[place - 1];
            token[place] = t;
            if (found == top) least = logits[token[top - 1]];
        }
    }
}

double log_probability(const float *logits, int32_t vocabulary, int32_t token, int32_t top,
                       int32_t *top_token, double *top_value) {
    float most = largest(logits, vocabulary);
    if (!(most > -INFINITY && most < INFINITY)) return NAN;
    f32x16 sums = splat(0.0f);
    double sum = 0.0;
    for (int32_t i = 0; i < vocabulary; i += LANES) {
        f32x16 x = load_some(logits, i, vocabulary) - most;
        sums += choose16(x > -87.0f, exp16(x), splat(0.0f));
        if ((i + LANES) % SAMPLE_BLOCK != 0 && i + LANES < vocabulary) continue;
        sum += (double)sum_lanes(sums);
        sums = splat(0.0f);
    }
    double log_sum = (double)most + natural_log(sum);
    if (top > 0) find_top(logits, vocabulary, top, top_token);
    for (int32_t i = 0; i < top; i++) top_value[i] = (double)logits[top_token[i]] - log_sum;
    return (double)logits[token] - log_sum;
}
