/* Weights of four bits: nibbles, in groups of sixteen inputs of a column.
 *
 * A weight is multiple * (nibble - 8) units of its column's scale, where a group's multiple is a
 * whole number up to 8: a whole number between -64 and 56, so that what is unpacked is multiplied
 * as int8's weights are, exactly, and over all inputs before any scale.
 *
 *   nibbles   of 8 inputs and 16 columns: 64 bytes, a column's four bytes together; inputs 0..3 are
 *             the low halves, 4..7 the high ones
 *   multiples of 32 inputs and 16 columns: 16 bytes; the low halves are inputs 0..15
 */
#ifndef GPT2_UNPACK_H
#define GPT2_UNPACK_H

#include "vector.h"

#define GROUP 16 /* inputs that share a multiple */
#define ZERO_NIBBLE 8

typedef uint16_t u16x32 __attribute__((vector_size(64)));

/* A group's multiples of 16 columns, for each byte of their weights. */
typedef struct {
    u16x32 times; /* in words of two weights */
    i8x64 zero;   /* what nibble 8 becomes */
} Multiples;

/* `group`: of all inputs of a column. */
static inline Multiples load_multiples(const uint8_t *pairs, int group) {
    u8x16 bytes;
    memcpy(&bytes, pairs, sizeof bytes);
    i32x16 of_column = __builtin_convertvector(bytes, i32x16);
    of_column = group % 2 == 0 ? of_column & 15 : of_column >> 4;
    u16x32 times = (u16x32)(of_column | of_column << 16);
    return (Multiples){times, (i8x64)(times * (uint16_t)(ZERO_NIBBLE << 8 | ZERO_NIBBLE))};
}

/* Weights of nibbles, each of which is a byte below 16. Two are multiplied at once: neither product
 * is larger than a byte. */
static inline i8x64 weights_of(u16x32 nibbles, Multiples multiples) {
    return (i8x64)(nibbles * multiples.times) - multiples.zero;
}
static inline u16x32 low_nibbles(u16x32 pairs) {
    return pairs & (uint16_t)0x0f0f;
}
static inline u16x32 high_nibbles(u16x32 pairs) {
    return pairs >> 4 & (uint16_t)0x0f0f;
}

#endif
