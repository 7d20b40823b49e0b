/* The forward pass of one step, over any mix of rows. */
#ifndef GPT2_STEP_H
#define GPT2_STEP_H

#include "ask.h"
#include "attention.h"
#include "decode.h"
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

/* A row that is asked for: where it stands among all rows, its place among the rows that need
 * logits, and among those whose hidden states are wanted. -1: it does not. */
typedef struct {
    int32_t row, logits, hidden;
} Want;

/* Where rows are made ready for a matrix: [rows][largest number of inputs] each. */
typedef struct {
    float *normal;
    uint8_t *bytes;
    float *scale;    /* [rows] */
    int32_t *offset; /* [rows] */
} Desk;

#define OWN_ROWS 2

typedef struct {
    Model model;
    Pool *pool;
    AttentionScratch *scratch; /* [threads] */
    Sampler *sampler;          /* [threads] */
    int8_t *unpacked;          /* [threads][unpacked_size]: a panel of an int4 matrix as bytes */
    size_t unpacked_size;
    /* Of the step that runs. */
    RowList all;     /* every row */
    RowList wanted;  /* those that are asked for */
    bool are_single; /* every row is of another slot and asked for, as when texts are decoded */
    Want *want;      /* [max_rows]: of each wanted row, in the order of the rows */
    int32_t *place;  /* [max_rows]: of each row, for who asks */
    int32_t scored;  /* rows that need logits */
    float *logits;   /* [at_once][V], or NULL where only what comes before them is wanted */
    int32_t at_once; /* rows whose logits are there at the same time */
    float *hidden;   /* [those that are wanted][D], or NULL */
    Ask *const *ask; /* [asked] */
    int32_t asked;
    Decode *decode; /* of the steps that run in one call */
    /* Buffers, [max_rows][...]. */
    float *x;          /* [D_pad]: the residual stream */
    float *qkv;        /* [3 H C_pad] */
    float *attended;   /* [H C_pad] */
    float *inner;      /* [inner_pad] */
    Desk desk;         /* of all threads together */
    Desk *own_desk;    /* [threads]: of OWN_ROWS rows */
    float *own_logits; /* [LOGIT_ROWS][V], for asks */
} Engine;

/* Logits of more rows than these are made and read in turns: a prompt whose every token is scored
 * must not take 200 KB a row. */
#define LOGIT_ROWS 64

void run_step(Engine *engine);

/* Runs `decode` from the step that is set, of which every row is one text's. */
void run_decode(Engine *engine);

/* Whether the rows that are set, and who asks for each of them, allow that. */
bool is_decodable(const Engine *engine, Ask *const *asks, const Decode *decode);

/* Within a job of the pool: computes the step that is set. */
void forward(Engine *engine, int worker);

#endif
