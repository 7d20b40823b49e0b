/* Attention of some queries of one slot over the keys and values of one head. */
#ifndef GPT2_ATTENTION_H
#define GPT2_ATTENTION_H

#include "cache.h"

/* A worker's own memory. */
typedef struct {
    float *scores;       /* [QUERY_TILE][T_pad] */
    uint8_t *high, *low; /* [QUERY_TILE][T_pad] */
} AttentionScratch;

/* head: the first block of a head, see cache.h. Queries of consecutive positions: the first looks
 * at `keys` positions, each further one at one more. query [count][query_stride] and out
 * [count][out_stride], C_pad of each used; count <= QUERY_TILE. A query's result depends on itself
 * and on what it looks at alone. */
void attend_int8(const Model *model, uint8_t *head, const float *query, size_t query_stride,
                 float *out, size_t out_stride, int count, int keys, float scale,
                 AttentionScratch *scratch);
void attend_float(const Model *model, uint8_t *head, const float *query, size_t query_stride,
                  float *out, size_t out_stride, int count, int keys, float scale,
                  AttentionScratch *scratch);

#endif
