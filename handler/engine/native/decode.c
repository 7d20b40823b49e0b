#include <stddef.h>
#include <time.h>

#include "step.h"

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int32_t find(const int32_t *tokens, int32_t count, int32_t token) {
    for (int32_t i = 0; i < count; i++)
        if (tokens[i] == token) return i;
    return -1;
}

static bool penalizes(const Sampling *options) {
    return options->seen_token != NULL;
}

/* Notes a token as written, for penalties. */
static void see(Sampling *options, int32_t token) {
    int32_t i = find(options->seen_token, options->seen_count, token);
    if (i < 0) {
        i = options->seen_count++;
        options->seen_token[i] = token;
        options->seen_times[i] = 0.0f;
    }
    options->seen_times[i] += 1.0f;
}

/* Whoever asks keeps count of its tokens itself: takes those of this call back. */
static void forget(const Engine *engine, int32_t index, int32_t seen_before) {
    Sampling *options = &engine->ask[index]->sampling;
    const Decode *decode = engine->decode;
    for (int32_t step = 0; penalizes(options) && step + 1 < decode->done; step++) {
        int32_t token = decode->token[step * engine->asked + index];
        options->seen_times[find(options->seen_token, options->seen_count, token)] -= 1.0f;
    }
    options->seen_count = seen_before;
}

static void set_uniforms(Engine *engine) {
    const Decode *decode = engine->decode;
    for (int32_t i = 0; i < engine->asked; i++)
        engine->ask[i]->sampling.uniform = decode->uniform[decode->done * engine->asked + i];
}

/* Keeps the tokens of the step that has ended; whether none of them ends its text. */
static bool keep_tokens(Engine *engine) {
    Decode *decode = engine->decode;
    bool goes_on = true;
    for (int32_t i = 0; i < engine->asked; i++) {
        const Ask *ask = engine->ask[i];
        decode->token[decode->done * engine->asked + i] = ask->token;
        goes_on &= ask->token >= 0 && find(ask->end_token, ask->end_count, ask->token) < 0;
    }
    return goes_on;
}

/* Every chosen token becomes the row of its text. */
static void set_next(Engine *engine) {
    for (int32_t i = 0; i < engine->asked; i++) {
        Ask *ask = engine->ask[i];
        Row *row = &engine->all.row[i];
        *row = (Row){ask->token, row->slot, row->position + 1};
        engine->wanted.row[i] = *row;
        if (penalizes(&ask->sampling)) see(&ask->sampling, ask->token);
    }
    set_uniforms(engine);
}

static void end_step(Engine *engine) {
    Decode *decode = engine->decode;
    int64_t now = nanoseconds(), took = now - decode->began;
    decode->ended[decode->done] = now;
    decode->goes_on = keep_tokens(engine);
    decode->done++;
    decode->goes_on &= decode->done < decode->most &&
                       now + took <= __atomic_load_n(decode->until, __ATOMIC_RELAXED);
    decode->began = now;
    if (decode->goes_on) set_next(engine);
}

static void steps(void *context, int worker) {
    Engine *engine = context;
    do {
        forward(engine, worker);
        FOR_EACH_ITEM(item, engine->pool, 1) end_step(engine);
        pool_barrier(engine->pool);
    } while (engine->decode->goes_on);
}

void run_decode(Engine *engine) {
    int32_t seen[engine->asked];
    for (int32_t i = 0; i < engine->asked; i++) seen[i] = engine->ask[i]->sampling.seen_count;
    engine->decode->done = 0;
    engine->decode->began = nanoseconds();
    set_uniforms(engine);
    pool_run(engine->pool, steps, engine);
    for (int32_t i = 0; i < engine->asked; i++) forget(engine, i, seen[i]);
}

bool is_decodable(const Engine *engine, Ask *const *asks, const Decode *decode) {
    const Model *model = &engine->model;
    if (decode->most < 1) return false;
    for (int32_t i = 0; i < engine->all.count; i++) {
        const Row *row = &engine->all.row[i];
        const Ask *ask = asks[i];
        const Sampling *options = &ask->sampling;
        int32_t room = options->seen_room - options->seen_count;
        if (ask->row != i || ask->given >= 0 || ask->top >= 0 || ask->end_count < 0) return false;
        if (penalizes(options) && room < decode->most - 1) return false;
        if (row->position > model->positions - decode->most) return false;
        if (i > 0 && row->slot == row[-1].slot) return false;
    }
    return true;
}
