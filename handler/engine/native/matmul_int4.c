/* Bytes times weights of four bits, which are unpacked to bytes first: then all is as in
 * matmul_int8.c, and exact as there. The first tile of rows unpacks a panel as it multiplies, and
 * leaves the bytes for the others.
 */
#include "dot4.h"
#include "finish.h"
#include "matmul.h"
#include "unpack.h"

#define PAIR_BYTES (4 * PANEL)             /* of eight inputs of a panel */
#define CHAINS(rows) ((rows) <= 2 ? 2 : 1) /* sums of a row, none of which waits for the other */

/* Where a panel's weights are, and where they are left as bytes; NULL: nowhere. */
typedef struct {
    const uint8_t *pairs, *multiple;
    int8_t *bytes;
} Packed;

/* Integer sums of `rows` rows x TILE_VECTORS * 16 columns. `rows` and `keeps` are constants
 * wherever this is inlined. */
ALWAYS_INLINE void sum_tile(int rows, int keeps, Packed packed, const uint8_t *in, int inputs,
                            i32x16 sums[TILE_ROWS][TILE_VECTORS]) {
    i32x16 tile[TILE_ROWS][TILE_VECTORS][2];
    for (int row = 0; row < rows; row++)
        for (int v = 0; v < TILE_VECTORS; v++) tile[row][v][0] = tile[row][v][1] = splati(0);
    for (int k = 0; k < inputs; k += GROUP) {
        Multiples multiples[TILE_VECTORS];
        for (int v = 0; v < TILE_VECTORS; v++)
            multiples[v] = load_multiples(packed.multiple + k / 32 * PANEL + LANES * v, k / GROUP);
#pragma clang loop unroll(full)
        for (int four = 0; four < GROUP; four += 4) {
            i8x64 columns[TILE_VECTORS];
            for (int v = 0; v < TILE_VECTORS; v++) {
                u16x32 pairs = (u16x32)load64(packed.pairs + (k + four) / 8 * PAIR_BYTES + 64 * v);
                columns[v] = weights_of(four % 8 == 0 ? low_nibbles(pairs) : high_nibbles(pairs),
                                        multiples[v]);
                if (keeps)
                    memcpy(packed.bytes + (k + four) * PANEL + 64 * v, columns + v,
                           sizeof *columns);
            }
#pragma clang loop unroll(full)
            for (int row = 0; row < rows; row++) {
                u8x64 activations = splat4(in + (size_t)row * (size_t)inputs + k + four);
                i32x16 *sum = &tile[row][0][four / 4 % CHAINS(rows)];
                for (int v = 0; v < TILE_VECTORS; v++)
                    sum[2 * v] = dot4(sum[2 * v], activations, columns[v]);
            }
        }
    }
    for (int row = 0; row < rows; row++)
        for (int v = 0; v < TILE_VECTORS; v++) sums[row][v] = tile[row][v][0] + tile[row][v][1];
}

static void sum_rows(int rows, Packed packed, const uint8_t *in, int inputs,
                     i32x16 sums[TILE_ROWS][TILE_VECTORS]) {
    switch (rows) {
#define ROWS(n)                                                                                \
    case n:                                                                                    \
        if (packed.bytes != NULL && 2 * (n) > TILE_ROWS) /* a first tile of several is high */ \
            sum_tile(n, 1, packed, in, inputs, sums);                                          \
        else                                                                                   \
            sum_tile(n, 0, packed, in, inputs, sums);                                          \
        break;
        TILE_HEIGHTS(ROWS)
#undef ROWS
    }
}

void matmul_int4(const Linear *linear, const Activations *in, int rows, float *out, size_t stride,
                 Finish finish, int panel, int8_t *room) {
    size_t inputs = (size_t)linear->inputs;
    const uint8_t *pairs = (const uint8_t *)linear->weight + (size_t)panel * PANEL * inputs / 2;
    const uint8_t *multiple = linear->multiple + (size_t)panel * PANEL * ((inputs + 31) / 32);
    int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS, first = (rows + tiles - 1) / tiles;
    for (int v = 0; v < PANEL / LANES; v += TILE_VECTORS) {
        i32x16 sums[TILE_ROWS][TILE_VECTORS];
        Packed packed = {pairs + 64 * v, multiple + LANES * v, tiles > 1 ? room + 64 * v : NULL};
        sum_rows(first, packed, in->bytes, linear->inputs, sums);
        for (int row = 0; row < first; row++)
            for (int j = 0; j < TILE_VECTORS; j++) {
                int column = panel * PANEL + (v + j) * LANES;
                if (column >= linear->outputs) break;
                finish_integers(linear, sums[row][j], in, row, out + (size_t)row * stride, column,
                                finish);
            }
    }
    if (tiles == 1) return;
    Activations others = {in->bytes + (size_t)first * inputs, NULL, in->scale + first,
                          in->offset + first};
    multiply_bytes(linear, room, &others, rows - first, out + (size_t)first * stride, stride,
                   finish, panel);
}
