#include "pool.h"

#include <linux/futex.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPIN_NANOSECONDS 20000
#define CACHE_LINE 64

typedef struct {
    Pool *pool;
    int index;
    pthread_t thread;
} Worker;

struct Pool {
    _Alignas(CACHE_LINE) atomic_int next;
    _Alignas(CACHE_LINE) atomic_int arrived;
    _Alignas(CACHE_LINE) atomic_uint phase; /* goes up when all have arrived at a barrier */
    atomic_int sleepers;
    _Alignas(CACHE_LINE) atomic_uint run; /* goes up with every job */
    int threads;
    void (*job)(void *, int); /* NULL: the threads are to end */
    void *context;
    Worker *workers;
};

static void pause_core(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_while(atomic_uint *word, unsigned value) {
    while (atomic_load(word) == value)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_all(atomic_uint *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void wait_for_phase(Pool *pool, unsigned before) {
    int64_t until = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < 16; i++) {
            if (atomic_load_explicit(&pool->phase, memory_order_acquire) != before) return;
            pause_core();
        }
    } while (nanoseconds() < until);
    atomic_fetch_add(&pool->sleepers, 1); /* before the word is looked at again: see pool_barrier */
    sleep_while(&pool->phase, before);
    atomic_fetch_sub(&pool->sleepers, 1);
}

int pool_take(Pool *pool) {
    return atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
}

void pool_barrier(Pool *pool) {
    unsigned phase = atomic_load_explicit(&pool->phase, memory_order_acquire);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) < pool->threads - 1) {
        wait_for_phase(pool, phase);
        return;
    }
    atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store(&pool->phase,
                 phase + 1); /* in one order with `sleepers`: one of the two is seen */
    if (atomic_load(&pool->sleepers) > 0) wake_all(&pool->phase);
}

static void *work(void *argument) {
    Worker *worker = argument;
    Pool *pool = worker->pool;
    prctl(PR_SET_NAME, "gpt2-step"); /* what `top -H` shows */
    for (unsigned done = 0;; done++) {
        sleep_while(&pool->run, done);
        if (pool->job == NULL) return NULL;
        pool->job(pool->context, worker->index);
        pool_barrier(pool);
    }
}

Pool *pool_create(int threads) {
    Pool *pool = NULL;
    if (posix_memalign((void **)&pool, CACHE_LINE, sizeof *pool) != 0) return NULL;
    *pool = (Pool){.threads = 1, .workers = calloc((size_t)threads, sizeof(Worker))};
    if (pool->workers == NULL) {
        free(pool);
        return NULL;
    }
    for (; pool->threads < threads; pool->threads++) {
        Worker *worker = &pool->workers[pool->threads];
        *worker = (Worker){.pool = pool, .index = pool->threads};
        if (pthread_create(&worker->thread, NULL, work, worker) != 0) {
            pool_destroy(pool);
            return NULL;
        }
    }
    return pool;
}

void pool_run(Pool *pool, void (*job)(void *, int), void *context) {
    pool->job = job;
    pool->context = context;
    atomic_store(&pool->next, 0);
    if (pool->threads > 1) {
        atomic_fetch_add(&pool->run, 1);
        wake_all(&pool->run);
    }
    job(context, 0);
    pool_barrier(pool);
}

void pool_destroy(Pool *pool) {
    pool->job = NULL;
    atomic_fetch_add(&pool->run, 1);
    wake_all(&pool->run);
    for (int i = 1; i < pool->threads; i++) pthread_join(pool->workers[i].thread, NULL);
    free(pool->workers);
    free(pool);
}
