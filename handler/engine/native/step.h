/* The forward pass of one step, over any mix of rows. */
#ifndef GPT2_STEP_H
#define GPT2_STEP_H

#include "attention.h"
#include "pool.h"

/* Rows of one slot at consecutive positions, at most QUERY_TILE of them: what attention takes at
 * once. */
typedef struct {
    int32_t first, count;
} QueryGroup;

/* A list of rows and how attention takes them. */
typedef struct {
    Row *row;          /* [max_rows] */
    QueryGroup *group; /* [max_rows] */
    int32_t count, groups;
} RowList;

typedef struct {
    Model model;
    Pool *pool;
    AttentionScratch *scratch; /* [threads] */
    /* Of the step that runs. */
    RowList all;         /* every row */
    RowList wanted;      /* those whose logits or hidden states are asked for */
    const int32_t *want; /* [wanted.count], ascending: where they stand among all rows */
    float *logits;       /* [wanted.count][V], or NULL */
    float *hidden;       /* [wanted.count][D], or NULL */
    /* Buffers, [max_rows][...]. */
    float *x;        /* [D_pad]: the residual stream */
    float *normal;   /* [D_pad] */
    float *qkv;      /* [3 H C_pad] */
    float *attended; /* [H C_pad] */
    float *inner;    /* [inner_pad] */
    uint8_t *bytes;  /* [largest number of inputs] */
    float *scale;
    int32_t *offset;
} Engine;

void run_step(Engine *engine);

#endif
