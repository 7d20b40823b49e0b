/* Bytes times bytes: exact integer sums, then one scale a row and one a column.
 *
 * A tile of rows x columns stays in registers while a panel's weights stream past, four inputs at a
 * time; one panel (K x 32 bytes) stays in the first cache for all rows.
 */
#include "dot4.h"
#include "finish.h"
#include "matmul.h"

#define PREFETCH_BYTES 4096 /* ahead of where a panel is read */
#define STEP_BYTES (4 * PANEL)

/* Integer sums of `rows` rows x TILE_VECTORS * 16 columns. `rows` is a constant wherever this is
 * inlined. */
ALWAYS_INLINE void sum_tile(int rows, const int8_t *weight, const uint8_t *in, int inputs,
                            i32x16 sums[TILE_ROWS][TILE_VECTORS]) {
    i32x16 tile[TILE_ROWS][TILE_VECTORS];
    for (int row = 0; row < rows; row++)
        for (int v = 0; v < TILE_VECTORS; v++) tile[row][v] = splati(0);
    for (int k = 0; k < inputs; k += 4, weight += STEP_BYTES) {
        i8x64 columns[TILE_VECTORS];
        for (int v = 0; v < TILE_VECTORS; v++) {
            columns[v] = load64(weight + 64 * v);
            if (PREFETCHES(rows)) __builtin_prefetch(weight + 64 * v + PREFETCH_BYTES);
        }
#pragma clang loop unroll(full)
        for (int row = 0; row < rows; row++) {
            u8x64 four = splat4(in + (size_t)row * inputs + k);
            for (int v = 0; v < TILE_VECTORS; v++)
                tile[row][v] = dot4(tile[row][v], four, columns[v]);
        }
    }
    for (int row = 0; row < rows; row++)
        for (int v = 0; v < TILE_VECTORS; v++) sums[row][v] = tile[row][v];
}

static void sum_rows(int rows, const int8_t *weight, const uint8_t *in, int inputs,
                     i32x16 sums[TILE_ROWS][TILE_VECTORS]) {
    switch (rows) {
#define ROWS(n)                                \
    case n:                                    \
        sum_tile(n, weight, in, inputs, sums); \
        break;
        TILE_HEIGHTS(ROWS)
#undef ROWS
    }
}

void multiply_bytes(const Linear *linear, const int8_t *weight, const Activations *in, int rows,
                    float *out, size_t stride, Finish finish, int panel) {
    int inputs = linear->inputs;
    int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (int v = 0; v < PANEL / LANES; v += TILE_VECTORS) {
        int first_column = panel * PANEL + v * LANES;
        /* Tiles of nearly equal heights: a small one does not pay for the weights that it loads. */
        for (int tile = 0, row = 0; tile < tiles; tile++) {
            int end = (int)((int64_t)rows * (tile + 1) / tiles);
            i32x16 sums[TILE_ROWS][TILE_VECTORS];
            sum_rows(end - row, weight + 4 * LANES * v, in->bytes + (size_t)row * inputs, inputs,
                     sums);
            for (int i = 0; row < end; i++, row++) {
                for (int j = 0; j < TILE_VECTORS; j++) {
                    int column = first_column + j * LANES;
                    if (column >= linear->outputs) break;
                    finish_integers(linear, sums[i][j], in, row, out + (size_t)row * stride, column,
                                    finish);
                }
            }
        }
    }
}

void matmul_int8(const Linear *linear, const Activations *in, int rows, float *out, size_t stride,
                 Finish finish, int panel) {
    const int8_t *weight = linear->weight;
    multiply_bytes(linear, weight + (size_t)panel * PANEL * (size_t)linear->inputs, in, rows, out,
                   stride, finish, panel);
}
