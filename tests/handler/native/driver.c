/* Runs small models of made-up weights through the step in several ways that must give the same
 * bits, and prints a digest for each model.
 *
 *   driver LIBRARY THREADS
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "matmul.h"
#include "round.h"
#include "vector.h"

#define TOKENS 90
#define SLOTS 6
#define MAX_ROWS 96

static struct {
    const char *(*isa)(void);
    uint64_t (*slot_bytes)(const Model *);
    Engine *(*create)(const Model *);
    void (*destroy)(Engine *);
    int32_t (*step)(Engine *, const Row *, int32_t, const int32_t *, int32_t, float *, float *);
    int32_t (*copy)(Engine *, int32_t, int32_t, int32_t);
    int32_t (*step_and_answer)(Engine *, const Row *, int32_t, Ask *const *, int32_t,
                               const int32_t *, int32_t, float *);
    int32_t (*decode)(Engine *, const Row *, int32_t, Ask *const *, Decode *);
    void (*split_gram)(float *, int32_t, float, float *, float *);
    void (*round)(const float *, int32_t, int32_t, const float *, const float *, int8_t *,
                  uint8_t *, float *, float *);
} library;

static void load(const char *path) {
    void *handle = dlopen(path, RTLD_NOW);
    if (handle == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    *(void **)&library.isa = dlsym(handle, "gpt2_isa");
    *(void **)&library.slot_bytes = dlsym(handle, "gpt2_slot_bytes");
    *(void **)&library.create = dlsym(handle, "gpt2_create");
    *(void **)&library.destroy = dlsym(handle, "gpt2_destroy");
    *(void **)&library.step = dlsym(handle, "gpt2_step");
    *(void **)&library.copy = dlsym(handle, "gpt2_copy");
    *(void **)&library.decode = dlsym(handle, "gpt2_decode");
    *(void **)&library.split_gram = dlsym(handle, "gpt2_split_gram");
    *(void **)&library.round = dlsym(handle, "gpt2_round");
    *(void **)&library.step_and_answer = dlsym(handle, "gpt2_step_and_answer");
}

static uint32_t state = 1;
static uint32_t next_number(void) {
    return state = state * 1664525u + 1013904223u;
}

static void *memory(size_t bytes) {
    void *made = NULL;
    if (posix_memalign(&made, 64, bytes + 64) != 0) exit(2);
    return memset(made, 0, bytes + 64);
}

static int padded(int size, int multiple) {
    return (size + multiple - 1) / multiple * multiple;
}

/* Numbers between -size and size, exact in a float. */
static float *floats(size_t count, size_t room, float size, float around) {
    float *made = memory(room * sizeof *made);
    for (size_t i = 0; i < count; i++)
        made[i] = around + size * ((float)(int)(next_number() >> 16) - 32768.0f) / 32768.0f;
    return made;
}

/* Nibbles and multiples of a matrix, and what the weights of each column add up to. */
static uint8_t *int4(int inputs, int inputs_pad, int outputs, int32_t *sum, uint8_t **multiple) {
    int wide = padded(outputs, PANEL), groups = (inputs_pad + 31) / 32;
    uint8_t *pairs = memory((size_t)wide * inputs_pad / 2);
    *multiple = memory((size_t)wide * groups);
    for (int n = 0; n < outputs; n++)
        for (int k = 0; k < inputs_pad; k++) {
            size_t panel = (size_t)(n / PANEL), column = (size_t)(n % PANEL);
            uint8_t *both = *multiple + (panel * groups + k / 32) * PANEL + column;
            if (k % 16 == 0) *both |= (uint8_t)((1 + (next_number() >> 29)) << k / 16 % 2 * 4);
            int value = k < inputs ? (int)(next_number() >> 28) : 8;
            pairs[((panel * inputs_pad + k / 8 * 8) * PANEL) / 2 + column * 4 + k % 4] |=
                (uint8_t)(value << k / 4 % 2 * 4);
            sum[n] += (*both >> k / 16 % 2 * 4 & 15) * (value - 8);
        }
    return pairs;
}

static Linear linear(int precision, int inputs, int inputs_pad, int outputs) {
    int wide = padded(outputs, PANEL);
    float *scale = floats(wide, wide, 0.0f, 0.0f);
    int32_t *sum = memory((size_t)wide * sizeof *sum);
    for (int n = 0; n < outputs; n++) scale[n] = 0.25f / 63 / 4;
    uint8_t *multiple = NULL;
    float *bias;
    if (precision == PRECISION_INT4) {
        uint8_t *pairs = int4(inputs, inputs_pad, outputs, sum, &multiple);
        bias = floats(outputs, wide, 0.1f, 0.0f);
        return (Linear){.weight = pairs,
                        .multiple = multiple,
                        .scale = scale,
                        .sum = sum,
                        .bias = bias,
                        .inputs = inputs_pad,
                        .outputs = outputs,
                        .precision = precision};
    }
    int8_t *bytes = memory((size_t)wide * inputs_pad);
    float *wide_floats = memory((size_t)wide * inputs_pad * sizeof(float));
    for (int n = 0; n < outputs; n++)
        for (int k = 0; k < inputs; k++) {
            int8_t value = (int8_t)((int)(next_number() >> 24) % 127 - 63);
            size_t panel = (size_t)(n / PANEL);
            bytes[((panel * inputs_pad + k / 4 * 4) * PANEL) + n % PANEL * 4 + k % 4] = value;
            wide_floats[(panel * inputs_pad + k) * PANEL + n % PANEL] = (float)value * scale[n];
            sum[n] += value;
        }
    void *weight = precision == PRECISION_INT8 ? (void *)bytes : (void *)wide_floats;
    bias = floats(outputs, wide, 0.1f, 0.0f);
    return (Linear){.weight = weight,
                    .scale = scale,
                    .sum = sum,
                    .bias = bias,
                    .inputs = inputs_pad,
                    .outputs = outputs,
                    .precision = precision};
}

static Model make(int precision, int cache, int layers, int heads, int channels, int inner,
                  int vocabulary, int activation, int threads) {
    int width = heads * channels, width_pad = padded(width, LANES),
        inner_pad = padded(inner, LANES);
    int channels_pad = padded(channels, LANES), all = heads * channels_pad, positions = 128;
    Layer *layer = memory((size_t)layers * sizeof *layer);
    for (int i = 0; i < layers; i++)
        layer[i] = (Layer){
            .norm_1_gain = floats(width, width_pad, 0.2f, 1.0f),
            .norm_1_bias = floats(width, width_pad, 0.2f, 0.0f),
            .norm_2_gain = floats(width, width_pad, 0.2f, 1.0f),
            .norm_2_bias = floats(width, width_pad, 0.2f, 0.0f),
            .qkv = linear(precision, width, width_pad, 3 * all),
            .projection = linear(precision, all, all, width),
            .expand = linear(precision, width, width_pad, inner),
            .contract = linear(precision, inner, inner_pad, width),
            .attention_scale = 0.25f,
        };
    uint16_t *embedding = memory((size_t)vocabulary * width_pad * sizeof *embedding);
    for (int t = 0; t < vocabulary; t++)
        for (int k = 0; k < width; k++) { /* halves between 0.5 and 1, either sign */
            embedding[(size_t)t * width_pad + k] =
                (uint16_t)(0x3800 | (next_number() >> 22) | (next_number() >> 31 << 15));
        }
    float *position = memory((size_t)positions * width_pad * sizeof *position);
    for (int p = 0; p < positions; p++)
        memcpy(position + (size_t)p * width_pad, floats(width, width_pad, 0.1f, 0.0f),
               (size_t)width * sizeof(float));
    Model model = {
        .layers = layers,
        .heads = heads,
        .width = width,
        .inner = inner,
        .vocabulary = vocabulary,
        .positions = positions,
        .width_pad = width_pad,
        .inner_pad = inner_pad,
        .channels_pad = channels_pad,
        .positions_pad = padded(positions, LANES),
        .cache_precision = cache,
        .tokens_are_half = 1,
        .activation = activation,
        .slots = SLOTS,
        .max_rows = MAX_ROWS,
        .threads = threads,
        .epsilon = 1e-5f,
        .layer = layer,
        .token_embedding = embedding,
        .position_embedding = position,
        .norm_gain = floats(width, width_pad, 0.2f, 1.0f),
        .norm_bias = floats(width, width_pad, 0.2f, 0.0f),
        .head = linear(precision, width, width_pad, vocabulary),
    };
    model.cache = memory(library.slot_bytes(&model) * SLOTS);
    return model;
}

static int token_at(const Model *model, int position) {
    return (position * 37 + 5) % model->vocabulary;
}

static void check(int32_t status) {
    if (status == OK) return;
    printf("status %d\n", status);
    exit(1);
}

/* Computes positions start .. end of a slot, with a row of another text before and behind them;
 * without neighbours, nothing is wanted of a text that goes on. */
static void piece(Engine *engine, const Model *model, int slot, int start, int end, int neighbours,
                  float *logits) {
    Row rows[MAX_ROWS];
    int32_t count = 0, want[1];
    if (neighbours) rows[count++] = (Row){3 % model->vocabulary, SLOTS - 2, start % 64};
    for (int p = start; p < end; p++) rows[count++] = (Row){token_at(model, p), slot, p};
    want[0] = count - 1;
    if (neighbours) rows[count++] = (Row){9 % model->vocabulary, SLOTS - 1, 0};
    int32_t wanted = neighbours || end == TOKENS;
    check(library.step(engine, rows, count, want, wanted, logits, NULL));
}

static uint64_t digest(const float *logits, int count) {
    uint64_t hash = 14695981039346656037u;
    for (int i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, logits + i, sizeof bits);
        hash = (hash ^ bits) * 1099511628211u;
    }
    return hash;
}

/* Options of every kind, one after another. */
static Sampling options_of(int number, int32_t *tokens, float *numbers) {
    Sampling options = {.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f};
    options.uniform = (double)(number * 7 % 31) / 31;
    if (number % 5 == 0) options.temperature = 0.0f;
    if (number % 5 == 1) options.top_p = 0.9f;
    if (number % 5 == 2) options.top_k = 5;
    if (number % 5 == 3) options.min_p = 0.1f;
    if (number % 3 == 0) {
        options.repetition_penalty = 1.3f;
        options.frequency_penalty = 0.2f;
        options.seen_count = options.seen_room = options.bias_count = 1;
        options.bias_token = options.seen_token = tokens;
        options.bias = options.seen_times = numbers;
    }
    return options;
}

#define ASKS (2 * TOKENS + 4)
#define TOP 2

/* What a step answers to many is what it answers to one alone; of every third row the hidden state
 * is wanted, of half of these nothing else. */
static uint64_t answers(Engine *engine, const Model *model) {
    static Ask ask[ASKS];
    static int32_t tops[ASKS][TOP];
    static double values[ASKS][TOP];
    Row rows[TOKENS];
    Ask *asks[ASKS];
    int32_t all[TOKENS], want[TOKENS], wanted = 0, asked = 0, tokens[] = {1};
    float numbers[] = {1.5f};
    size_t width = (size_t)model->width;
    float *states = memory(TOKENS * width * sizeof *states);
    float *hidden = memory(TOKENS * width * sizeof *hidden);
    for (int r = 0; r < TOKENS; r++) {
        rows[r] = (Row){token_at(model, r), 4, r};
        all[r] = r;
        if (r % 3 == 0) want[wanted++] = r;
        for (int i = 0; i < 2 && r % 6 != 0; i++, asked++)
            ask[asked] = (Ask){.sampling = options_of(asked, tokens, numbers),
                               .top = asked % 4 - 1,
                               .given = asked % 7 == 6 && asked % 4 > 0 ? 1 : -1,
                               .row = TOKENS - 1 - r};
    }
    int good = asked;
    ask[asked++] = (Ask){.top = -1, .given = -1, .row = TOKENS};
    ask[asked++] = (Ask){.top = 0, .given = model->vocabulary, .row = 0};
    ask[asked++] = (Ask){.top = model->vocabulary + 1, .given = 0, .row = 0};
    ask[asked++] = (Ask){.sampling = {.temperature = -1.0f}, .top = -1, .given = -1, .row = 0};
    for (int i = 0; i < asked; i++) {
        asks[i] = ask + i;
        if (ask[i].top <= model->vocabulary && ask[i].top > TOP) ask[i].top = TOP;
        ask[i].top_token = tops[i];
        ask[i].top_value = values[i];
    }
    check(library.step(engine, rows, TOKENS, all, TOKENS, NULL, states));
    check(library.step_and_answer(engine, rows, TOKENS, asks, asked, want, wanted, hidden));
    uint64_t hash = 14695981039346656037u;
    for (int i = 0; i < asked; i++) {
        hash = (hash ^ (uint32_t)ask[i].token) * 1099511628211u;
        if ((ask[i].token == BAD_ASK) != (i >= good)) printf("ask %d: %d\n", i, ask[i].token);
        if (i >= good || i % 3 != 0) continue;
        int32_t top_token[TOP];
        double top_value[TOP];
        Ask alone = ask[i], *asks_alone = &alone;
        alone.row = 0;
        alone.top_token = top_token;
        alone.top_value = top_value;
        check(library.step_and_answer(engine, rows + ask[i].row, 1, &asks_alone, 1, NULL, 0, NULL));
        if (alone.token != ask[i].token)
            printf("ask %d: %d, alone %d\n", i, ask[i].token, alone.token);
        if (alone.top < 0) continue;
        size_t top = (size_t)alone.top;
        if (alone.log_probability != ask[i].log_probability ||
            memcmp(top_token, tops[i], top * sizeof *top_token) != 0 ||
            memcmp(top_value, values[i], top * sizeof *top_value) != 0)
            printf("ask %d: another log probability alone\n", i);
    }
    for (int i = 0; i < wanted; i++)
        if (memcmp(hidden + (size_t)i * width, states + (size_t)want[i] * width,
                   width * sizeof *hidden) != 0)
            printf("row %d: another hidden state\n", want[i]);
    return hash;
}

#define TEXTS 3
#define STEPS 12
#define START 40

/* What texts are made of; each has room for what it sees. */
typedef struct {
    Ask ask;
    int32_t tokens[STEPS + 1];
    float numbers[STEPS + 1];
} Text;

static void begin(Engine *engine, const Model *model, Text *texts, Row *rows, Ask **asks) {
    float *logits = memory((size_t)model->vocabulary * sizeof *logits);
    for (int i = 0; i < TEXTS; i++) {
        piece(engine, model, i, 0, START + i, 0, logits);
        texts[i] = (Text){.tokens = {1}, .numbers = {1.5f}};
        texts[i].ask = (Ask){.sampling = options_of(i, texts[i].tokens, texts[i].numbers),
                             .top = -1,
                             .given = -1,
                             .row = i};
        texts[i].ask.sampling.seen_room = STEPS + 1;
        rows[i] = (Row){1 % model->vocabulary, i, START + i};
        asks[i] = &texts[i].ask;
    }
}

/* Steps in one call choose what the same steps choose one by one. */
static uint64_t decoding(Engine *engine, const Model *model) {
    Text texts[TEXTS];
    Row rows[TEXTS];
    Ask *asks[TEXTS];
    double uniform[STEPS][TEXTS];
    int32_t token[STEPS][TEXTS], alone[STEPS][TEXTS];
    int64_t ended[STEPS], never = INT64_MAX / 2, past = 0;
    for (int s = 0; s < STEPS; s++)
        for (int i = 0; i < TEXTS; i++) uniform[s][i] = (double)((s * 5 + i * 3) % 31) / 31;
    begin(engine, model, texts, rows, asks);
    Decode all = {.most = STEPS, .uniform = *uniform, .token = *token, .ended = ended};
    all.until = &never;
    check(library.decode(engine, rows, TEXTS, asks, &all));
    if (all.done != STEPS) printf("%d steps of %d\n", all.done, STEPS);
    for (int i = 0; i < TEXTS; i++)
        if (texts[i].numbers[0] != 1.5f || texts[i].ask.sampling.seen_count > 1)
            printf("text %d: its tokens are not forgotten\n", i);

    begin(engine, model, texts, rows, asks);
    for (int s = 0; s < STEPS; s++) {
        Decode one = {.most = STEPS - s, .uniform = uniform[s], .token = alone[s], .ended = ended};
        one.until = &past;
        check(library.decode(engine, rows, TEXTS, asks, &one));
        if (one.done != 1) printf("%d steps beyond their time\n", one.done);
        for (int i = 0; i < TEXTS; i++) {
            Sampling *options = &texts[i].ask.sampling;
            rows[i] = (Row){alone[s][i], i, rows[i].position + 1};
            if (options->seen_token == NULL) continue;
            int seen = 0;
            while (seen < options->seen_count && texts[i].tokens[seen] != alone[s][i]) seen++;
            if (seen == options->seen_count) options->seen_count++;
            texts[i].tokens[seen] = alone[s][i];
            texts[i].numbers[seen] += 1.0f;
        }
    }
    if (memcmp(token, alone, sizeof token) != 0) printf("steps in one call choose others\n");

    begin(engine, model, texts, rows, asks);
    texts[1].ask.end_token = &token[STEPS / 2][1];
    texts[1].ask.end_count = 1;
    check(library.decode(engine, rows, TEXTS, asks, &all));
    int first = 0;
    while (token[first][1] != *texts[1].ask.end_token) first++;
    if (all.done != first + 1) printf("%d steps, but text 1 ends after %d\n", all.done, first + 1);

    all.most = model->positions;
    if (library.decode(engine, rows, TEXTS, asks, &all) != BAD_DECODE)
        printf("beyond the context\n");
    all.most = STEPS;
    asks[0]->top = 0;
    if (library.decode(engine, rows, TEXTS, asks, &all) != BAD_DECODE) printf("asks for more\n");
    return digest((const float *)alone, STEPS * TEXTS);
}

#define ROUNDED 2 /* times sixteen columns */

/* Weights that are rounded to four bits by what a step of `model` feeds its first matrix with. */
static uint64_t rounding(const Model *model) {
    Layer *layer = (Layer *)model->layer;
    int inputs = layer->contract.inputs;
    float *gram = layer->contract.gram = memory((size_t)inputs * inputs * sizeof *gram);
    Engine *engine = library.create(model);
    float *logits = memory((size_t)model->vocabulary * sizeof *logits);
    piece(engine, model, 0, 0, TOKENS, 1, logits);
    library.destroy(engine);
    layer->contract.gram = NULL;
    size_t count = (size_t)ROUNDED * inputs * LANES;
    float *matrix = floats(count, count, 0.5f, 0.0f), *weight = memory(inputs * sizeof *weight);
    float *room = memory((size_t)SPLIT_ROWS * inputs * sizeof *room);
    int8_t *units = memory(count);
    uint8_t *multiple = memory(count / 16);
    float *scale = memory(ROUNDED * LANES * sizeof *scale);
    uint64_t hash = digest(gram, inputs * inputs);
    library.split_gram(gram, inputs, 0.01f, weight, room);
    library.round(matrix, inputs, ROUNDED, gram, weight, units, multiple, scale,
                  memory((size_t)inputs * LANES * sizeof(float)));
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ (uint8_t)units[i] ^ multiple[i / 16]) * 1099511628211u;
    return hash ^ digest(scale, ROUNDED * LANES) ^ digest(weight, inputs);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    load(argv[1]);
    int threads = atoi(argv[2]);
    struct {
        const char *name;
        int precision, cache, layers, heads, channels, inner, vocabulary, activation;
    } shapes[] = {
        {"int8", PRECISION_INT8, PRECISION_INT8, 3, 4, 64, 1024, 1000, GELU_TANH},
        {"float", PRECISION_FLOAT32, PRECISION_FLOAT32, 2, 4, 32, 512, 500, GELU_ERF},
        {"mixed", PRECISION_INT8, PRECISION_FLOAT32, 2, 3, 16, 96, 77, SILU},
        {"odd", PRECISION_INT8, PRECISION_INT8, 2, 5, 4, 37, 51, RELU},
        {"int4", PRECISION_INT4, PRECISION_INT8, 2, 4, 64, 1024, 1000, GELU_TANH},
        {"int4 odd", PRECISION_INT4, PRECISION_FLOAT32, 2, 3, 4, 37, 51, GELU_ERF},
        {"single", PRECISION_FLOAT32, PRECISION_INT8, 1, 1, 1, 1, 2, GELU_TANH},
    };
    int cuts[] = {TOKENS, 33, 7, 1};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        state = 1;
        Model model = make(shapes[s].precision, shapes[s].cache, shapes[s].layers, shapes[s].heads,
                           shapes[s].channels, shapes[s].inner, shapes[s].vocabulary,
                           shapes[s].activation, threads);
        Engine *engine = library.create(&model);
        if (engine == NULL) return 2;
        float *logits = memory((size_t)model.vocabulary * sizeof *logits);
        uint64_t first = 0;
        for (int way = 0; way < 4; way++) {
            for (int start = 0; start < TOKENS; start += cuts[way]) {
                int end = start + cuts[way] < TOKENS ? start + cuts[way] : TOKENS;
                piece(engine, &model, way, start, end, way % 2, logits);
            }
            uint64_t now = digest(logits, model.vocabulary);
            if (way == 0) first = now;
            if (now != first) printf("%s: pieces of %d differ\n", shapes[s].name, cuts[way]);
        }
        check(library.copy(engine, 0, 3,
                           TOKENS - 20)); /* what is copied is as good as what was computed */
        piece(engine, &model, 3, TOKENS - 20, TOKENS, 0, logits);
        if (digest(logits, model.vocabulary) != first)
            printf("%s: a copy differs\n", shapes[s].name);
        printf("%s %016llx", shapes[s].name, (unsigned long long)first);
        printf(" %016llx", (unsigned long long)answers(engine, &model));
        printf(" %016llx\n", (unsigned long long)decoding(engine, &model));
        library.destroy(engine);
        if (s == 0) printf("rounded %016llx\n", (unsigned long long)rounding(&model));
    }
    fprintf(stderr, "%s\n", library.isa());
    return 0;
}
