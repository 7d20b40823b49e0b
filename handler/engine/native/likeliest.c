#include "likeliest.h"

#include <string.h>

#include "vector.h"

#define FEW 512  /* tokens that are sorted rather than divided further */
#define MANY 500 /* all weights, where the likeliest is 1: then many tokens are likely */
#define RADIX_BITS 8
#define RADIX (1 << RADIX_BITS)
#define LEAST_WEIGHT 0x1p-149f  /* a weight of zero is none */
#define ABOVE_ALL 0x1.000002p0f /* the likeliest token weighs 1 */

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

void measure(const Sampler *sampler, Above above[BOUNDS]) {
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

Ranked find_ranked(Sampler *sampler, Goal goal) {
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
    Ranked ranked = {listed->high.sum, listed->high.count, 0};
    for (int32_t i = 0; ranked.count < listed->low.count; i++) {
        ranked.sum += (double)sampler->list[i].weight;
        ranked.count++;
        ranked.token = sampler->list[i].token;
        if (is_reached(goal, ranked.sum, ranked.count)) break;
    }
    return ranked;
}
