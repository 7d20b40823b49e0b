#include "logprob.h"

#include <math.h>
#include <string.h>

#include "logits.h"
#include "vector.h"

#define SUM_BLOCK 256 /* floats whose sum is taken in floats, lane by lane */

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
            int32_t rank = found < top ? found++ : top - 1;
            for (; rank > 0 && logits[token[rank - 1]] < logits[t]; rank--)
                token[rank] = token[rank - 1];
            token[rank] = t;
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
        if ((i + LANES) % SUM_BLOCK != 0 && i + LANES < vocabulary) continue;
        sum += (double)sum_lanes(sums);
        sums = splat(0.0f);
    }
    double log_sum = (double)most + natural_log(sum);
    if (top > 0) find_top(logits, vocabulary, top, top_token);
    for (int32_t i = 0; i < top; i++) top_value[i] = (double)logits[top_token[i]] - log_sum;
    return (double)logits[token] - log_sum;
}

double drawn_log_probability(const Sampler *sampler, const float *logits, const Sampling *options,
                             int32_t token, int32_t top, int32_t *top_token, double *top_value) {
    const float *values = sampler->values;
    if (options->temperature < GREEDY_BELOW) {
        bool is_changed =
            options->seen_count > 0 || options->bias_count > 0 || options->allowed != NULL;
        return log_probability(is_changed ? values : logits, sampler->vocabulary, token, top,
                               top_token, top_value);
    }
    double log_weight = natural_log(sampler->drawn_weight);
    if (top > 0) find_top(values, sampler->vocabulary, top, top_token);
    for (int32_t i = 0; i < top; i++) {
        float weight = values[top_token[i]];
        bool is_drawn = i < sampler->drawn_count && weight > 0.0f;
        top_value[i] = is_drawn ? natural_log((double)weight) - log_weight : (double)-INFINITY;
    }
    return natural_log((double)values[token]) - log_weight;
}
