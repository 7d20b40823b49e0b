/* Floats times floats. Each output is summed over the inputs in their order, one after another, so
 * that it does not depend on the rows and columns it is computed with. */
#include "dot4.h"
#include "finish.h"
#include "matmul.h"

#define PREFETCH_FLOATS 1024

/* Sums of `rows` rows x TILE_VECTORS * 16 columns. `rows` is a constant wherever this is inlined.
 */
ALWAYS_INLINE void sum_tile(int rows, const float *weight, const float *in, int inputs,
                            f32x16 sums[TILE_ROWS][TILE_VECTORS]) {
    f32x16 tile[TILE_ROWS][TILE_VECTORS];
    for (int row = 0; row < rows; row++)
        for (int v = 0; v < TILE_VECTORS; v++) tile[row][v] = splat(0.0f);
    for (int k = 0; k < inputs; k++, weight += PANEL) {
        f32x16 columns[TILE_VECTORS];
        for (int v = 0; v < TILE_VECTORS; v++) {
            columns[v] = load16(weight + LANES * v);
            if (PREFETCHES(rows)) __builtin_prefetch(weight + LANES * v + PREFETCH_FLOATS);
        }
#pragma clang loop unroll(full)
        for (int row = 0; row < rows; row++) {
            f32x16 activation = splat(in[(size_t)row * inputs + k]);
            for (int v = 0; v < TILE_VECTORS; v++)
                tile[row][v] = fma16(activation, columns[v], tile[row][v]);
        }
    }
    for (int row = 0; row < rows; row++)
        for (int v = 0; v < TILE_VECTORS; v++) sums[row][v] = tile[row][v];
}

static void sum_rows(int rows, const float *weight, const float *in, int inputs,
                     f32x16 sums[TILE_ROWS][TILE_VECTORS]) {
    switch (rows) {
#define ROWS(n)                                \
    case n:                                    \
        sum_tile(n, weight, in, inputs, sums); \
        break;
        TILE_HEIGHTS(ROWS)
#undef ROWS
    }
}

void matmul_float(const Linear *linear, const Activations *in, int rows, float *out, size_t stride,
                  Finish finish, int panel) {
    int inputs = linear->inputs;
    const float *weight = (const float *)linear->weight + (size_t)panel * PANEL * inputs;
    int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (int v = 0; v < PANEL / LANES; v += TILE_VECTORS) {
        int first_column = panel * PANEL + v * LANES;
        for (int tile = 0, row = 0; tile < tiles; tile++) {
            int end = (int)((int64_t)rows * (tile + 1) / tiles);
            f32x16 sums[TILE_ROWS][TILE_VECTORS];
            sum_rows(end - row, weight + LANES * v, in->floats + (size_t)row * inputs, inputs,
                     sums);
            for (int i = 0; row < end; i++, row++) {
                for (int j = 0; j < TILE_VECTORS; j++) {
                    int column = first_column + j * LANES;
                    if (column >= linear->outputs) break;
                    finish16(sums[i][j] + load16(linear->bias + column), finish,
                             out + (size_t)row * stride, column, linear->outputs);
                }
            }
        }
    }
}
