/* Rows of activations times a weight matrix. */
#ifndef GPT2_MATMUL_H
#define GPT2_MATMUL_H

#include "model.h"

/* What is done with a product before it is stored: nothing, the sum with what is there, or what a
 * model's feed-forward layer applies. */
typedef enum { STORE, ADD_TO, GELU_TANH, GELU_ERF, RELU, SILU } Finish;

/* Computes columns panel * PANEL .. of `rows` rows into out [rows][stride]. A row's result depends
 * on that row alone. */
void matmul_int8(const Linear *linear, const Activations *in, int rows, float *out, size_t stride,
                 Finish finish, int panel);
/* `room` [K_pad * PANEL] is the thread's own. */
void matmul_int4(const Linear *linear, const Activations *in, int rows, float *out, size_t stride,
                 Finish finish, int panel, int8_t *room);
void matmul_float(const Linear *linear, const Activations *in, int rows, float *out, size_t stride,
                  Finish finish, int panel);

/* The work of matmul_int8, with the bytes of a panel [K_pad / 4][PANEL][4] wherever they are. */
void multiply_bytes(const Linear *linear, const int8_t *weight, const Activations *in, int rows,
                    float *out, size_t stride, Finish finish, int panel);

#endif
