/* Tokens in the order of their weights, without sorting them all: where a running sum over them,
 * the likeliest first, comes to what is wanted is found by what lies above some bounds, then above
 * some between two of these. */
#ifndef GPT2_LIKELIEST_H
#define GPT2_LIKELIEST_H

#include <stdbool.h>
#include <stdint.h>

#include "sample.h"

#define BOUNDS 4 /* that are measured at once */

/* What a running sum over tokens, the likeliest first, has to come to: `count` tokens that weigh
 * `weight` together, or more than that. */
typedef struct {
    double weight;
    int32_t count;
    bool is_more;
} Goal;

/* A token, and what it and all likelier ones are together. */
typedef struct {
    double sum;
    int32_t count, token;
} Ranked;

/* Finds what lies above each of some bounds, the highest first. */
void measure(const Sampler *sampler, Above above[BOUNDS]);

/* The token at which a goal is reached; the last one of all if none does. */
Ranked find_ranked(Sampler *sampler, Goal goal);

#endif
