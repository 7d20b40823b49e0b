#include "round.h"

#include "api.h"
#include "unpack.h"
#include "vector.h"

#define LEAST (-ZERO_NIBBLE)
#define MOST (15 - ZERO_NIBBLE)
#define LARGEST_MULTIPLE 8
/* A column's largest weight is so many units: between what it may be below zero and above. */
#define LARGEST_UNITS 60.0f
#define SMALLEST 1e-30f /* a column of nothing larger becomes zeros */

/* With a smaller unit the largest weights are cut off, and the others are kept better. */
static const float SHARES[] = {1.0f, 0.9f, 0.8f, 0.7f, 0.6f, 0.5f};

/* row[j] -= factor * other[j], over what may be rounded up to a vector's border. */
static void subtract(float *row, float factor, const float *other, int count) {
    for (int j = 0; j < count; j += LANES)
        store16(row + j, fma16(splat(-factor), load16(other + j), load16(row + j)));
}

/* Finds U[.][k] for k = end - 1 .. start. `column` gets U[j][k] at [k - start][j]. */
static void split_block(float *gram, int inputs, int start, int end, float least, float *weight,
                        float *column) {
    size_t stride = (size_t)inputs;
    for (int k = end - 1; k >= start; k--) {
        float *of_k = column + (size_t)(k - start) * stride;
        float pivot = gram[(size_t)k * stride + k];
        weight[k] = pivot > least ? pivot : least; /* by its nature it is; rounding may differ */
        for (int j = 0; j < k; j++) of_k[j] = gram[(size_t)j * stride + k] / weight[k];
        for (int j = 0; j < k; j++) {
            float *row = gram + (size_t)j * stride;
            row[k] = of_k[j];
            float factor = of_k[j] * weight[k];
            for (int l = j > start ? j : start; l < k; l++)
                row[l] = __builtin_elementwise_fma(-factor, of_k[l], row[l]);
        }
    }
}

void split_gram(float *gram, int inputs, float damping, float *weight, float *room) {
    size_t stride = (size_t)inputs;
    for (int k = 0; k < inputs; k++) gram[(size_t)k * stride + k] += damping;
    for (int end = inputs, start; end > 0; end = start) {
        start = end > SPLIT_ROWS ? end - SPLIT_ROWS : 0;
        split_block(gram, inputs, start, end, damping, weight, room);
        for (int i = 0; i < start; i++) { /* what lies before the block */
            int from = i / LANES * LANES;
            float *row = gram + (size_t)i * stride;
            for (int k = end - 1; k >= start; k--) {
                const float *of_k = room + (size_t)(k - start) * stride;
                subtract(row + from, of_k[i] * weight[k], of_k + from, start - from);
            }
        }
    }
}

static f32x16 nearest_unit(f32x16 x, f32x16 multiple) {
    f32x16 units = min16(max16(x / multiple, splat(LEAST)), splat(MOST));
    return __builtin_convertvector(round16(units), f32x16);
}

typedef struct {
    f32x16 multiple, error;
} Fit;

/* The multiple that keeps a group [GROUP] of each column best, each weight by itself. */
static Fit fit_group(const f32x16 *group, const float *weight) {
    Fit best = {splat(1.0f), splat(0.0f)};
    for (int multiple = 1; multiple <= LARGEST_MULTIPLE; multiple++) {
        f32x16 unit = splat((float)multiple), error = splat(0.0f);
        for (int k = 0; k < GROUP; k++) {
            f32x16 off = fma16(-unit, nearest_unit(group[k], unit), group[k]);
            error = fma16(off * weight[k], off, error);
        }
        i32x16 better = multiple == 1 ? splati(-1) : error < best.error;
        best.multiple = choose16(better, unit, best.multiple);
        best.error = choose16(better, error, best.error);
    }
    return best;
}

static void load_group(const float *matrix, int first, f32x16 scale, f32x16 group[GROUP]) {
    for (int k = 0; k < GROUP; k++) group[k] = load16(matrix + (size_t)(first + k) * LANES) / scale;
}

/* What a unit of each column is worth: of several, that which keeps the weights best. */
static f32x16 find_scale(const float *matrix, int inputs, const float *weight) {
    f32x16 largest = splat(0.0f), best = splat(1.0f), least = splat(0.0f);
    for (int k = 0; k < inputs; k++) {
        f32x16 x = load16(matrix + (size_t)k * LANES);
        largest = max16(max16(x, -x), largest);
    }
    i32x16 is_nothing = largest <= SMALLEST;
    for (size_t i = 0; i < sizeof SHARES / sizeof *SHARES; i++) {
        f32x16 scale = choose16(is_nothing, splat(1.0f), largest * (SHARES[i] / LARGEST_UNITS));
        f32x16 error = splat(0.0f), group[GROUP];
        for (int first = 0; first < inputs; first += GROUP) {
            load_group(matrix, first, scale, group);
            error += fit_group(group, weight + first).error;
        }
        error = error * (SHARES[i] * SHARES[i]);
        i32x16 better = i == 0 ? splati(-1) : error < least;
        best = choose16(better, scale, best);
        least = choose16(better, error, least);
    }
    return best;
}

/* Adds to a group what the errors of all inputs before it ask for. */
static void compensate(const float *upper, int inputs, int first, const float *error,
                       f32x16 group[GROUP]) {
    for (int j = 0; j < first; j++) {
        const float *of_j = upper + (size_t)j * (size_t)inputs + first;
        f32x16 off = load16(error + (size_t)j * LANES);
#pragma clang loop unroll(full)
        for (int k = 0; k < GROUP; k++) group[k] = fma16(splat(of_j[k]), off, group[k]);
    }
}

void round_columns(const float *matrix, int inputs, const float *upper, const float *weight,
                   int8_t *units, uint8_t *multiple, float *scale, float *error) {
    f32x16 of_column = find_scale(matrix, inputs, weight);
    store16(scale, of_column);
    for (int first = 0; first < inputs; first += GROUP) {
        f32x16 given[GROUP], group[GROUP];
        load_group(matrix, first, of_column, given);
        memcpy(group, given, sizeof group);
        compensate(upper, inputs, first, error, group);
        f32x16 step = fit_group(group, weight + first).multiple;
        u8x16 bytes = __builtin_convertvector(round16(step), u8x16);
        memcpy(multiple + (size_t)first / GROUP * LANES, &bytes, sizeof bytes);
        for (int k = 0; k < GROUP; k++) {
            f32x16 wanted = group[k];
            for (int j = 0; j < k; j++) {
                float factor = upper[(size_t)(first + j) * (size_t)inputs + first + k];
                wanted = fma16(splat(factor), load16(error + (size_t)(first + j) * LANES), wanted);
            }
            f32x16 nearest = nearest_unit(wanted, step);
            i8x16 rounded = __builtin_convertvector(round16(nearest), i8x16);
            memcpy(units + (size_t)(first + k) * LANES, &rounded, sizeof rounded);
            store16(error + (size_t)(first + k) * LANES, fma16(-step, nearest, given[k]));
        }
    }
}

EXPORT void gpt2_split_gram(float *gram, int32_t inputs, float damping, float *weight,
                            float *room) {
    split_gram(gram, inputs, damping, weight, room);
}

/* Of `count` times sixteen columns, one after another. */
EXPORT void gpt2_round(const float *matrix, int32_t inputs, int32_t count, const float *upper,
                       const float *weight, int8_t *units, uint8_t *multiple, float *scale,
                       float *error) {
    for (int32_t i = 0; i < count; i++) {
        size_t first = (size_t)i * (size_t)inputs * LANES;
        round_columns(matrix + first, inputs, upper, weight, units + first,
                      multiple + first / GROUP, scale + (size_t)i * LANES, error);
    }
}
