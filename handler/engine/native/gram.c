/* Rows are added up 64 at a time before they join what is there, which keeps the sums precise and
 * the rows in the second cache. */
#include "gram.h"

#include "vector.h"

#define ROWS_AT_ONCE 64
#define TILE 8

static void add_tile(const float *in, int rows, int inputs, float *gram, int i, int j) {
    f32x16 sums[TILE];
    for (int t = 0; t < TILE; t++) sums[t] = splat(0.0f);
    for (int row = 0; row < rows; row++) {
        const float *x = in + (size_t)row * (size_t)inputs;
        f32x16 across = load16(x + j);
#pragma clang loop unroll(full)
        for (int t = 0; t < TILE; t++) sums[t] = fma16(splat(x[i + t]), across, sums[t]);
    }
    for (int t = 0; t < TILE; t++) {
        float *to = gram + (size_t)(i + t) * (size_t)inputs + j;
        store16(to, load16(to) + sums[t]);
    }
}

void add_gram(const float *in, int rows, int inputs, float *gram, int first) {
    for (int row = 0; row < rows; row += ROWS_AT_ONCE) {
        int count = rows - row < ROWS_AT_ONCE ? rows - row : ROWS_AT_ONCE;
        const float *x = in + (size_t)row * (size_t)inputs;
        for (int j = first; j < inputs; j += LANES)
            for (int i = first; i < first + LANES; i += TILE)
                add_tile(x, count, inputs, gram, i, j);
    }
}
