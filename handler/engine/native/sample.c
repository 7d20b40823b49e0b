/* Penalties, then temperature, top_k, top_p, min_p, then the choice by inverse transform.
 *
 * Sums are taken in blocks of 256 floats, lane by lane, and over blocks in doubles: always in the
 * same order, so that a row's token depends on the row, its options and its random number alone.
 *
 * Tokens are not sorted, but for a few: where a running sum over them, the likeliest first, comes
 * to what is wanted is found by what lies above some bounds, then above some between two of these.
 */
#include "sample.h"

#include <math.h>
#include <string.h>

#include "vector.h"

#define BOUNDS 4 /* that are measured at once */
#define FEW 512  /* tokens that are sorted rather than divided further */
#define MANY 500 /* all weights, where the likeliest is 1: then many tokens are likely */
#define RADIX_BITS 8
#define RADIX (1 << RADIX_BITS)
#define LEAST_WEIGHT 0x1p-149f  /* a weight of zero is none */
#define ABOVE_ALL 0x1.000002p0f /* the likeliest token weighs 1 */
#define GREEDY_BELOW                                                            \
    1e-5f /* dividing by less overflows; the likeliest token has all the weight \
           */
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

/* Sixteen values from `i` on; -inf beyond `count`. */
static f32x16 load_some(const float *values, int32_t i, int32_t count) {
    if (i + LANES <= count) return load16(values + i);
    f32x16 x = splat(-INFINITY);
    memcpy(&x, values + i, (size_t)(count - i) * sizeof *values);
    return x;
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

/* Finds what lies above each of some bounds, the highest first. Where few tokens are likely, most
 * sixteens hold none, and are passed over: what they add to a sum is nothing, to the last bit. */
ALWAYS_INLINE void measure_all(const Sampler *sampler, Above above[BOUNDS], bool are_few) {
    i32x16 counts[BOUNDS];
    for (int n = 0; n < BOUNDS; n++) {
        counts[n] = splati(0);
        above[n].sum = 0.0;
        above[n].count = 0;
    }
    for (int32_t start = 0; start < sampler->vocabulary; start += SAMPLE_BLOCK) {
        if (sampler->block_most[start / SAMPLE_BLOCK] < above[BOUNDS - 1].bound) continue;
        f32x16 sums[BOUNDS];
        for (int n = 0; n < BOUNDS; n++) sums[n] = splat(0.0f);
        for (int32_t i = start; i < start + SAMPLE_BLOCK; i += LANES) {
            f32x16 x = load16(sampler->values + i);
            if (are_few && !any16(x >= above[BOUNDS - 1].bound)) continue;
#pragma clang loop unroll(full)
            for (int n = 0; n < BOUNDS; n++) {
                i32x16 is_above = x >= above[n].bound;
                sums[n] += choose16(is_above, x, splat(0.0f));
                counts[n] -= is_above;
            }
        }
        for (int n = 0; n < BOUNDS; n++) above[n].sum += (double)sum_lanes(sums[n]);
    }
    for (int n = 0; n < BOUNDS; n++)
        for (int lane = 0; lane < LANES; lane++) above[n].count += counts[n][lane];
}

static void measure(const Sampler *sampler, Above above[BOUNDS]) {
    if (sampler->total < MANY)
        measure_all(sampler, above, true);
    else
        measure_all(sampler, above, false);
}

static uint32_t bits_of(float weight) {
    uint32_t bits;
    memcpy(&bits, &weight, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float weight;
    memcpy(&weight, &bits, sizeof weight);
    return weight;
}

/* What a running sum over tokens, the likeliest first, has to come to: `count` tokens that weigh
 * `weight` together, or more than that. */
typedef struct {
    double weight;
    int32_t count;
    bool is_more;
} Goal;

static bool is_reached(Goal goal, double sum, int32_t count) {
    return count >= goal.count && (goal.is_more ? sum > goal.weight : sum >= goal.weight);
}

/* Bounds that divide a range evenly, in the order of floats. */
static void divide(Range range, Above at[BOUNDS]) {
    uint32_t high = bits_of(range.high.bound), low = bits_of(range.low.bound);
    uint32_t step = (high - low) / (BOUNDS + 1);
    if (step == 0) step = 1;
    for (uint32_t n = 0; n < BOUNDS; n++) {
        uint32_t below = (n + 1) * step;
        at[n].bound = float_of(high - low > below ? high - below : low);
    }
}

/* The tokens among which the goal is reached: few of them, or equal ones. If few are above, these
 * too: what is asked next is likely to be among them. */
static Range find_range(const Sampler *sampler, Goal goal) {
    Range range = {.high = {.bound = ABOVE_ALL}, .low = {.bound = LEAST_WEIGHT}};
    Above at[BOUNDS] = {
        {.bound = 0x1p-3f}, {.bound = 0x1p-6f}, {.bound = 0x1p-9f}, {.bound = 0x1p-12f}};
    range.low.count = sampler->vocabulary;
    while (range.low.count - range.high.count > FEW &&
           bits_of(range.high.bound) - bits_of(range.low.bound) > 1) {
        measure(sampler, at);
        for (int n = 0; n < BOUNDS; n++) {
            if (is_reached(goal, at[n].sum, at[n].count)) {
                range.low = at[n];
                break;
            }
            range.high = at[n];
        }
        divide(range, at);
    }
    if (range.low.count <= FEW) range.high = (Above){.bound = ABOVE_ALL};
    return range;
}

/* Lists the tokens of a range in the order of their ids. */
static int32_t list_range(Sampler *sampler, Range range) {
    int32_t found = 0;
    for (int32_t i = 0; i < sampler->vocabulary; i += LANES) {
        if (i % SAMPLE_BLOCK == 0 && sampler->block_most[i / SAMPLE_BLOCK] < range.low.bound) {
            i += SAMPLE_BLOCK - LANES;
            continue;
        }
        f32x16 x = load16(sampler->values + i);
        if (!any16((x >= range.low.bound) & (x < range.high.bound))) continue;
        for (int lane = 0; lane < LANES; lane++)
            if (x[lane] >= range.low.bound && x[lane] < range.high.bound)
                sampler->list[found++] = (Candidate){x[lane], i + lane};
    }
    return found;
}

/* Sorts the list by weight, largest first; equal ones stay in their order. */
static void sort_list(Sampler *sampler, Range range, int32_t count) {
    uint32_t high = bits_of(range.high.bound), span = high - bits_of(range.low.bound);
    for (int shift = 0; span > 1 && shift < 32 && span >> shift > 0; shift += RADIX_BITS) {
        Candidate *from = sampler->list, *to = sampler->sorting;
        int32_t start[RADIX + 1] = {0};
        for (int32_t i = 0; i < count; i++)
            start[((high - bits_of(from[i].weight)) >> shift & (RADIX - 1)) + 1]++;
        for (int bin = 0; bin < RADIX; bin++) start[bin + 1] += start[bin];
        for (int32_t i = 0; i < count; i++)
            to[start[(high - bits_of(from[i].weight)) >> shift & (RADIX - 1)]++] = from[i];
        sampler->list = to;
        sampler->sorting = from;
    }
}

/* A token, and what it and all likelier ones are together. */
typedef struct {
    double sum;
    int32_t count, token;
} Place;

/* The token at which a goal is reached; the last one of all if none does. */
static Place find_place(Sampler *sampler, Goal goal) {
    Range *listed = &sampler->listed;
    bool is_listed = is_reached(goal, listed->low.sum, listed->low.count) &&
                     !is_reached(goal, listed->high.sum, listed->high.count);
    if (!is_listed) {
        Range range = find_range(sampler, goal);
        int32_t count = list_range(sampler, range);
        sort_list(sampler, range, count);
        range.low.count = range.high.count + count;
        *listed = range;
    }
    Place place = {listed->high.sum, listed->high.count, 0};
    for (int32_t i = 0; place.count < listed->low.count; i++) {
        place.sum += (double)sampler->list[i].weight;
        place.count++;
        place.token = sampler->list[i].token;
        if (is_reached(goal, place.sum, place.count)) break;
    }
    return place;
}

/* The last of the tokens that top_k, top_p (Holtzman et al. 2019) and min_p leave. */
static Place find_last(Sampler *sampler, const Sampling *options) {
    sampler->total = total_of(sampler);
    Place last = {sampler->total, sampler->vocabulary, 0};
    if (options->top_k > 0 && options->top_k < sampler->vocabulary)
        last = find_place(sampler, (Goal){.count = options->top_k});
    if (options->top_p < 1.0f) {
        Goal goal = {.weight = (double)options->top_p * last.sum, .count = 1};
        Place nucleus = find_place(sampler, goal);
        if (nucleus.count < last.count) last = nucleus;
    }
    if (options->min_p > 0.0f) {
        Above above[BOUNDS];
        for (int n = 0; n < BOUNDS; n++)
            above[n].bound = options->min_p < 1.0f ? options->min_p : 1.0f;
        measure(sampler, above);
        if (above->count < last.count) last = (Place){above->sum, above->count, 0};
    }
    return last;
}

/* The token at which the running sum over those up to `last` passes `uniform` of the whole. */
static int32_t draw_likely(Sampler *sampler, Place last, double uniform) {
    Goal goal = {.weight = uniform * last.sum, .count = 1, .is_more = true};
    Place place = find_place(sampler, goal);
    if (place.count <= last.count) return place.token;
    return find_place(sampler, (Goal){.count = last.count}).token; /* rounding left it behind */
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
    if (!is_restricted) return draw_from_all(sampler, options->uniform);
    sampler->listed = (Range){0};
    return draw_likely(sampler, find_last(sampler, options), options->uniform);
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
