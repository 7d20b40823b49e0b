/* Products of a matrix's inputs with each other, added up; what int4 packing rounds by. */
#ifndef GPT2_GRAM_H
#define GPT2_GRAM_H

#include <stdint.h>

/* gram[i][j] += sum over rows of in[row][i] * in[row][j], for the inputs `first` .. `first` + 15
 * and all j from `first` on: the upper half. in [rows][inputs], gram [inputs][inputs]; `inputs` is
 * a multiple of LANES. */
void add_gram(const float *in, int rows, int inputs, float *gram, int first);

#endif
