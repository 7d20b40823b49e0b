/* Steps that follow each other in one call, each on the tokens that were chosen in the one before.
 *
 * Between two steps of one call no thread sleeps and no Python runs.
 */
#ifndef GPT2_DECODE_H
#define GPT2_DECODE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int32_t most;          /* steps, at least 1 */
    int32_t done;          /* steps that were run */
    const double *uniform; /* [most][asked]: random numbers in [0, 1) */
    int32_t *token;        /* [most][asked]: chosen */
    int64_t *ended;        /* [most]: when, nanoseconds of the monotonic clock */
    /* No further step begins that would end after this, if it took as long as the last one. Others
     * may write it at any time. */
    const int64_t *until;
    /* The call's own. */
    int64_t began; /* the step that runs */
    bool goes_on;
} Decode;

#endif
