#include "cache.h"

#define BYTE_LIMIT 127

/* Floats to bytes between -127 and 127; returns what one unit is worth, NaN if a value is not
 * finite. */
static float quantize_head(const float *in, int length, int8_t *out) {
    Rounding rounding = rounding_of(in, length, BYTE_LIMIT);
    for (int c = 0; c < length; c += LANES) {
        i32x16 value = clamp16i(round16(load16(in + c) * rounding.units), -BYTE_LIMIT, BYTE_LIMIT);
        i8x16 bytes = __builtin_convertvector(value, i8x16);
        memcpy(out + c, &bytes, sizeof bytes);
    }
    return rounding.step;
}

static void write_bytes(ByteBlock block, int place, int channels, const float *key,
                        const float *value) {
    int8_t bytes[MAX_CHANNELS];
    block.key_scale[place] = quantize_head(key, channels, bytes);
    int32_t sum = 0;
    for (int c = 0; c < channels; c += 4) {
        memcpy(block.keys + LANES * c + 4 * place, bytes + c, 4);
        sum += bytes[c] + bytes[c + 1] + bytes[c + 2] + bytes[c + 3];
    }
    block.key_sum[place] = sum;
    block.value_scale[place] = quantize_head(value, channels, bytes);
    int8_t *values = block.values + place / 4 * 4 * channels + place % 4;
    for (int c = 0; c < channels; c++) values[4 * c] = bytes[c];
}

static void write_floats(FloatBlock block, int place, int channels, const float *key,
                         const float *value) {
    for (int c = 0; c < channels; c++) block.keys[LANES * c + place] = key[c];
    memcpy(block.values + (size_t)place * channels, value, (size_t)channels * sizeof(float));
}

void cache_write(const Model *model, uint8_t *head, int position, const float *key,
                 const float *value) {
    uint8_t *at = head + (size_t)(position / LANES) * block_stride(model);
    int place = position % LANES, channels = model->channels_pad;
    if (model->cache_precision == PRECISION_INT8)
        write_bytes(byte_block(at, channels), place, channels, key, value);
    else
        write_floats(float_block(at, channels), place, channels, key, value);
}

void cache_copy(const Model *model, int source, int target, int length) {
    size_t bytes = (size_t)(length + LANES - 1) / LANES * block_stride(model);
    for (int layer = 0; layer < model->layers; layer++)
        memcpy(first_block(model, target, layer, 0), first_block(model, source, layer, 0), bytes);
}
