/* A loaded GPT-2, and what one step works on. Sizes: D width, H heads, C = D / H channels of a
 * head, V vocabulary, T positions, R rows of a step. A name ending in _pad is rounded up so that
 * kernels need no tails; what lies between is zero.
 */
#ifndef GPT2_MODEL_H
#define GPT2_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PANEL 32          /* columns of a weight matrix that lie together, see matmul.h */
#define MAX_CHANNELS 1024 /* of a head */

typedef enum { PRECISION_FLOAT32 = 0, PRECISION_INT8 = 1, PRECISION_INT4 = 2 } Precision;

/* y = x W + b for a weight matrix of K inputs and N outputs. */
typedef struct {
    /* int8 [N_pad / PANEL][K_pad / 4][PANEL][4], float [N_pad / PANEL][K_pad][PANEL], or pairs of
     * nibbles [N_pad / PANEL][K_pad / 8][PANEL][4], see unpack.h */
    const void *weight;
    const uint8_t *multiple; /* [N_pad / PANEL][K_pad / 32, rounded up][PANEL], of int4 alone */
    const float *scale; /* [N_pad], of integers: what one unit of a column's weights is worth */
    const int32_t *sum; /* [N_pad], of integers: a column's weights added up */
    const float *bias;  /* [N_pad] */
    float *peaks;       /* [K_pad] or NULL: largest magnitude of each input, as they come */
    float *gram;        /* [K_pad][K_pad] or NULL: products of inputs, see gram.h */
    int32_t inputs, outputs; /* K_pad, a multiple of LANES, and N */
    int32_t precision;       /* Precision of the weights */
} Linear;

typedef struct {
    const float *norm_1_gain, *norm_1_bias; /* [D_pad] */
    const float *norm_2_gain, *norm_2_bias; /* [D_pad] */
    Linear qkv;        /* D -> 3 H C_pad: queries, keys, values, head by head */
    Linear projection; /* H C_pad -> D */
    Linear expand;     /* D -> inner */
    Linear contract;   /* inner -> D */
    float attention_scale;
} Layer;

typedef struct {
    int32_t layers, heads, width, inner, vocabulary, positions; /* L H D inner V T */
    int32_t width_pad, inner_pad, channels_pad, positions_pad;  /* multiples of LANES */
    int32_t cache_precision;                                    /* Precision of keys and values */
    int32_t tokens_are_half;
    int32_t activation; /* of the feed-forward layer, a Finish of matmul.h */
    int32_t slots, max_rows, threads;
    float epsilon;
    const Layer *layer;                 /* [L] */
    const void *token_embedding;        /* half or float [V][D_pad] */
    const float *position_embedding;    /* [T][D_pad] */
    const float *norm_gain, *norm_bias; /* [D_pad]; NULL in a part of a model */
    Linear head;                        /* D -> V */
    uint8_t *cache;                     /* [slots][L][layer_bytes], see cache.h */
} Model;

/* One row of a step: which token stands at which position of which slot. Rows of one slot follow
 * each other, in the order of their positions. */
typedef struct {
    int32_t token, slot, position;
} Row;

/* Activations that a matmul reads: rows of bytes with a scale and an offset each, or of floats. */
typedef struct {
    const uint8_t *bytes;  /* [R][stride] */
    const float *floats;   /* [R][stride] */
    const float *scale;    /* [R]: what one unit of a row's bytes is worth */
    const int32_t *offset; /* [R]: the byte that stands for 0 */
} Activations;

#endif
