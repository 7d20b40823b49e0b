/* Threads that work through the phases of a step together.
 *
 * In each phase the threads take items from one counter until none is left, and meet at a barrier.
 * A thread that loses its core for a while delays the item it is at, not its share of the phase.
 * Who waits looks for some microseconds and then sleeps: a thread that spins longer may be taking
 * the very core that the other one needs. Between steps all sleep.
 */
#ifndef GPT2_POOL_H
#define GPT2_POOL_H

typedef struct Pool Pool;

/* `threads` in all, the caller of pool_run among them. NULL if they cannot be had. */
Pool *pool_create(int threads);
void pool_destroy(Pool *pool);

/* Runs `job` in every thread, and returns when all have done. */
void pool_run(Pool *pool, void (*job)(void *context, int worker), void *context);

/* Within a job: the next item of this phase. */
int pool_take(Pool *pool);

/* Within a job: waits for all threads, and begins the next phase at item 0. */
void pool_barrier(Pool *pool);

#define FOR_EACH_ITEM(item, pool, count) for (int item; (item = pool_take(pool)) < (count);)

#endif
