/* Rounding a matrix to four bits so that what the inputs make of it changes least: each weight's
 * error is made up for by the weights that come after it (GPTQ; in the form of QuIP's LDLQ).
 *
 * With H the sums of products of the inputs and H = (I + U) D (I + U)', U strictly upper, the
 * outputs of weights W rounded with errors E change by
 *
 *   sum over k of D[k] |E[k] + sum over j < k of U[j][k] E[j]|^2
 *
 * so input k rounds W[k] + sum over j < k of U[j][k] E[j]. Frantar et al. 2022; Chee et al. 2023.
 */
#ifndef GPT2_ROUND_H
#define GPT2_ROUND_H

#include <stdint.h>

/* Splits `gram` [inputs][inputs], of which the upper half counts, in place into U (above the
 * diagonal) and `weight` [inputs], which becomes D. `damping`, which is more than 0, is added to
 * the diagonal. `room` [SPLIT_ROWS][inputs]; `inputs` is a multiple of LANES. */
#define SPLIT_ROWS 32
void split_gram(float *gram, int inputs, float damping, float *weight, float *room);

/* Rounds sixteen columns, `matrix` [inputs][LANES]: `units` [inputs][LANES] between -8 and 7,
 * `multiple` [inputs / GROUP][LANES] and `scale` [LANES], of unpack.h. `error` [inputs][LANES] is
 * room. */
void round_columns(const float *matrix, int inputs, const float *upper, const float *weight,
                   int8_t *units, uint8_t *multiple, float *scale, float *error);

#endif
