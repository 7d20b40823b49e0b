#include "step.h"

#include <string.h>

#include "dot4.h"
#include "gram.h"
#include "matmul.h"
#include "rows.h"

/* Memory is read fastest in long runs: a thread takes so many bytes of weights at a time, but
 * leaves the others their share, for it may lose its core. */
#define RUN_BYTES 393216
#define SHARES 4 /* of each thread, at least, where there are panels enough */

static size_t heads_width(const Model *model) {
    return (size_t)model->heads * (size_t)model->channels_pad;
}

static f32x16 token_lanes(const Model *model, size_t first) {
    if (!model->tokens_are_half) return load16((const float *)model->token_embedding + first);
    f16x16 half;
    memcpy(&half, (const uint16_t *)model->token_embedding + first, sizeof half);
    return __builtin_convertvector(half, f32x16);
}

/* x = token embedding + position embedding */
static void embed(Engine *engine) {
    const Model *model = &engine->model;
    size_t width = (size_t)model->width_pad;
    FOR_EACH_ITEM(r, engine->pool, engine->all.count) {
        Row row = engine->all.row[r];
        const float *position = model->position_embedding + (size_t)row.position * width;
        for (size_t k = 0; k < width; k += LANES) {
            f32x16 token = token_lanes(model, (size_t)row.token * width + k);
            store16(engine->x + (size_t)r * width + k, token + load16(position + k));
        }
    }
    pool_barrier(engine->pool);
}

/* Makes of a row of floats what `reader` multiplies: bytes, if its weights are integers. */
static void quantize(Engine *engine, const Linear *reader, const float *floats, int row) {
    if (reader->precision == PRECISION_FLOAT32) return;
    size_t first = (size_t)row * (size_t)reader->inputs;
    quantize_row(floats + first, reader->inputs, engine->bytes + first, engine->scale + row,
                 engine->offset + row);
}

static void quantize_rows(Engine *engine, const Linear *reader, const float *floats, int rows) {
    if (reader->precision == PRECISION_FLOAT32) return;
    FOR_EACH_ITEM(r, engine->pool, rows) quantize(engine, reader, floats, r);
    pool_barrier(engine->pool);
}

/* normal = LayerNorm(x), for `reader` */
static void normalize(Engine *engine, const float *gain, const float *bias, const Linear *reader,
                      int rows) {
    const Model *model = &engine->model;
    size_t width = (size_t)model->width_pad;
    FOR_EACH_ITEM(r, engine->pool, rows) {
        layer_norm(engine->x + (size_t)r * width, gain, bias, model->width, model->width_pad,
                   model->epsilon, engine->normal + (size_t)r * width);
        quantize(engine, reader, engine->normal, r);
    }
    pool_barrier(engine->pool);
}

/* Notes what somebody wants to know of a matrix's inputs: their products with each other, and the
 * largest magnitude of each. */
static void watch(Engine *engine, const Linear *linear, const float *in, int rows) {
    if (linear->gram != NULL) {
        FOR_EACH_ITEM(block, engine->pool, linear->inputs / LANES)
        add_gram(in, rows, linear->inputs, linear->gram, block * LANES);
        pool_barrier(engine->pool);
    }
    if (linear->peaks == NULL) return;
    FOR_EACH_ITEM(block, engine->pool, linear->inputs / LANES) {
        float *peaks = linear->peaks + block * LANES;
        f32x16 most = load16(peaks);
        for (int r = 0; r < rows; r++) {
            f32x16 x = load16(in + (size_t)r * (size_t)linear->inputs + block * LANES);
            most = max16(max16(x, -x), most);
        }
        store16(peaks, most);
    }
    pool_barrier(engine->pool);
}

static int panel_bytes(const Linear *linear) {
    int weights = PANEL * linear->inputs;
    if (linear->precision == PRECISION_INT4) return weights / 2;
    return weights * (linear->precision == PRECISION_INT8 ? 1 : (int)sizeof(float));
}

static int panels_at_once(const Linear *linear, int panels, int threads) {
    int run = RUN_BYTES / panel_bytes(linear), share = panels / (SHARES * threads);
    if (run > share) run = share;
    return run > 1 ? run : 1;
}

/* Rows `first` .. `first` + `rows` - 1 of what was made ready for `linear`. */
static void multiply_some(Engine *engine, const Linear *linear, float *in, int first, int rows,
                          float *out, size_t stride, Finish finish, int worker) {
    size_t skipped = (size_t)first * (size_t)linear->inputs;
    Activations from = {engine->bytes + skipped, in + skipped, engine->scale + first,
                        engine->offset + first};
    int panels = (linear->outputs + PANEL - 1) / PANEL;
    int run = panels_at_once(linear, panels, engine->model.threads);
    FOR_EACH_ITEM(item, engine->pool, (panels + run - 1) / run) {
        int end = item * run + run < panels ? item * run + run : panels;
        for (int panel = item * run; panel < end; panel++) {
            if (linear->precision == PRECISION_INT8)
                matmul_int8(linear, &from, rows, out, stride, finish, panel);
            else if (linear->precision == PRECISION_INT4)
                matmul_int4(linear, &from, rows, out, stride, finish, panel,
                            engine->unpacked + (size_t)worker * engine->unpacked_size);
            else
                matmul_float(linear, &from, rows, out, stride, finish, panel);
        }
    }
    pool_barrier(engine->pool);
}

static void multiply(Engine *engine, const Linear *linear, float *in, int rows, float *out,
                     size_t stride, Finish finish, int worker) {
    watch(engine, linear, in, rows);
    multiply_some(engine, linear, in, 0, rows, out, stride, finish, worker);
}

static void write_cache(Engine *engine, int layer) {
    const Model *model = &engine->model;
    size_t all = heads_width(model);
    FOR_EACH_ITEM(r, engine->pool, engine->all.count) {
        Row row = engine->all.row[r];
        for (int head = 0; head < model->heads; head++) {
            const float *key =
                engine->qkv + (size_t)r * 3 * all + all + (size_t)head * model->channels_pad;
            cache_write(model, first_block(model, row.slot, layer, head), row.position, key,
                        key + all);
        }
    }
    pool_barrier(engine->pool);
}

/* attended = softmax(queries x keys) x values, head by head */
static void attend(Engine *engine, int layer, const RowList *rows, int worker) {
    const Model *model = &engine->model;
    size_t all = heads_width(model);
    float scale = model->layer[layer].attention_scale;
    FOR_EACH_ITEM(item, engine->pool, model->heads * rows->groups) {
        int head = item / rows->groups;
        QueryGroup group = rows->group[item % rows->groups];
        Row row = rows->row[group.first];
        size_t channel = (size_t)head * model->channels_pad;
        const float *query = engine->qkv + (size_t)group.first * 3 * all + channel;
        float *out = engine->attended + (size_t)group.first * all + channel;
        (model->cache_precision == PRECISION_INT8 ? attend_int8 : attend_float)(
            model, first_block(model, row.slot, layer, head), query, 3 * all, out, all, group.count,
            row.position + 1, scale, engine->scratch + worker);
    }
    pool_barrier(engine->pool);
}

/* After the last layer's keys and values are written, only wanted rows go on: moved to the front.
 */
static void keep_wanted(Engine *engine, int worker) {
    size_t width = (size_t)engine->model.width_pad, all = 3 * heads_width(&engine->model);
    for (int i = 0; worker == 0 && i < engine->wanted.count; i++) {
        size_t from = (size_t)engine->want[i].row;
        memmove(engine->x + (size_t)i * width, engine->x + from * width, width * sizeof(float));
        memmove(engine->qkv + (size_t)i * all, engine->qkv + from * all, all * sizeof(float));
    }
    pool_barrier(engine->pool);
}

static void run_layer(Engine *engine, int index, int worker) {
    const Model *model = &engine->model;
    const Layer *layer = model->layer + index;
    size_t width = (size_t)model->width_pad, all = heads_width(model);
    const RowList *rows = &engine->all;

    normalize(engine, layer->norm_1_gain, layer->norm_1_bias, &layer->qkv, rows->count);
    multiply(engine, &layer->qkv, engine->normal, rows->count, engine->qkv, 3 * all, STORE, worker);
    write_cache(engine, index);
    if (index == model->layers - 1) {
        keep_wanted(engine, worker);
        rows = &engine->wanted;
    }
    attend(engine, index, rows, worker);
    quantize_rows(engine, &layer->projection, engine->attended, rows->count);
    multiply(engine, &layer->projection, engine->attended, rows->count, engine->x, width, ADD_TO,
             worker);

    normalize(engine, layer->norm_2_gain, layer->norm_2_bias, &layer->expand, rows->count);
    multiply(engine, &layer->expand, engine->normal, rows->count, engine->inner,
             (size_t)model->inner_pad, (Finish)model->activation, worker);
    quantize_rows(engine, &layer->contract, engine->inner, rows->count);
    multiply(engine, &layer->contract, engine->inner, rows->count, engine->x, width, ADD_TO,
             worker);
}

/* The last LayerNorm: of rows that need logits for the head, side by side; of the others in place.
 */
static void normalize_wanted(Engine *engine) {
    const Model *model = &engine->model;
    size_t width = (size_t)model->width_pad;
    FOR_EACH_ITEM(i, engine->pool, engine->wanted.count) {
        Want want = engine->want[i];
        float *x = engine->x + (size_t)i * width;
        float *normal = want.logits < 0 ? x : engine->normal + (size_t)want.logits * width;
        layer_norm(x, model->norm_gain, model->norm_bias, model->width, model->width_pad,
                   model->epsilon, normal);
        if (want.logits >= 0) quantize(engine, &model->head, engine->normal, want.logits);
        if (want.hidden >= 0)
            memcpy(engine->hidden + (size_t)want.hidden * model->width, normal,
                   (size_t)model->width * sizeof(float));
    }
    pool_barrier(engine->pool);
}

/* Answers who asks for one of the rows `first` .. `end` - 1 of those that need logits. */
static void answer_asks(Engine *engine, int first, int end, int worker) {
    FOR_EACH_ITEM(i, engine->pool, engine->asked) {
        Ask *ask = engine->ask[i];
        if (ask->place < first || ask->place >= end) continue;
        answer(engine->sampler + worker,
               engine->logits + (size_t)(ask->place - first) * (size_t)engine->model.vocabulary,
               ask);
    }
    pool_barrier(engine->pool);
}

void forward(Engine *engine, int worker) {
    const Model *model = &engine->model;
    embed(engine);
    for (int layer = 0; layer < model->layers; layer++) run_layer(engine, layer, worker);
    normalize_wanted(engine);
    watch(engine, &model->head, engine->normal, engine->scored);
    for (int first = 0; engine->logits != NULL && first < engine->scored;) {
        int rows = engine->scored - first;
        if (rows > engine->at_once) rows = engine->at_once;
        multiply_some(engine, &model->head, engine->normal, first, rows, engine->logits,
                      (size_t)model->vocabulary, STORE, worker);
        if (engine->asked > 0) answer_asks(engine, first, first + rows, worker);
        first += rows;
    }
}

static void one_step(void *context, int worker) {
    forward(context, worker);
}

void run_step(Engine *engine) {
    pool_run(engine->pool, one_step, engine);
}
