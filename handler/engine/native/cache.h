/* Where keys and values lie: in blocks of 16 positions of one head.
 *
 *   [slots][L][T_pad / 16][H] blocks
 *
 * and in a block, of bytes (between -127 and 127):        of floats:
 *   keys         int8   [C_pad / 4][16 positions][4]        keys    float [C_pad][16 positions]
 *   values       int8   [4][C_pad][4 positions]             values  float [16 positions][C_pad]
 *   key_scale    float  [16], what one unit is worth
 *   value_scale  float  [16]
 *   key_sum      int32  [16], a position's key bytes added up
 *
 * so that sixteen positions (of keys) or sixteen channels (of values) are one vector, and nothing
 * is summed across lanes. What a sequence holds of a layer is one block of memory.
 */
#ifndef GPT2_CACHE_H
#define GPT2_CACHE_H

#include "model.h"
#include "vector.h"

typedef struct {
    int8_t *keys, *values;
    float *key_scale, *value_scale;
    int32_t *key_sum;
} ByteBlock;

typedef struct {
    float *keys, *values;
} FloatBlock;

static inline size_t block_bytes(const Model *model) {
    size_t entries = (size_t)LANES * (size_t)model->channels_pad;
    if (model->cache_precision == PRECISION_FLOAT32) return 2 * entries * sizeof(float);
    return 2 * entries + LANES * (2 * sizeof(float) + sizeof(int32_t));
}

/* From a block to that of the same head 16 positions on. */
static inline size_t block_stride(const Model *model) {
    return (size_t)model->heads * block_bytes(model);
}

static inline size_t layer_bytes(const Model *model) {
    return (size_t)model->positions_pad / LANES * block_stride(model);
}

/* The block of position 0 of a head. */
static inline uint8_t *first_block(const Model *model, int slot, int layer, int head) {
    size_t index = (size_t)slot * (size_t)model->layers + (size_t)layer;
    return model->cache + index * layer_bytes(model) + (size_t)head * block_bytes(model);
}

static inline ByteBlock byte_block(uint8_t *at, int channels) {
    int8_t *keys = (int8_t *)at, *values = keys + LANES * channels;
    float *scales = (float *)(values + LANES * channels);
    return (ByteBlock){keys, values, scales, scales + LANES, (int32_t *)(scales + 2 * LANES)};
}

static inline FloatBlock float_block(uint8_t *at, int channels) {
    return (FloatBlock){(float *)at, (float *)at + LANES * channels};
}

/* Writes the key and value [C_pad] of one position; `head` is its head's first block. */
void cache_write(const Model *model, uint8_t *head, int position, const float *key,
                 const float *value);

/* Copies the first `length` positions of all layers and heads of one slot to another. */
void cache_copy(const Model *model, int source, int target, int length);

#endif
