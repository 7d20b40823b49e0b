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

/* A LayerNorm; without a gain rows stay as they are. */
typedef struct {
    const float *gain, *bias;
} Norm;

/* A row as `reader` multiplies it: normalised where a norm is given, bytes if weights are integers.
 */
static void prepare_row(const Model *model, const Linear *reader, const float *in, const Norm *norm,
                        const Desk *desk, int row) {
    size_t first = (size_t)row * (size_t)reader->inputs;
    const float *floats = in + first;
    if (norm != NULL) {
        layer_norm(floats, norm->gain, norm->bias, model->width, model->width_pad, model->epsilon,
                   desk->normal + first);
        floats = desk->normal + first;
    }
    if (reader->precision == PRECISION_FLOAT32) return;
    quantize_row(floats, reader->inputs, desk->bytes + first, desk->scale + row,
                 desk->offset + row);
}

/* Prepares rows for `reader`. Of a few rows each thread prepares all for itself, on a desk of its
 * own: that takes less time than to wait for each other. */
static Activations prepare(Engine *engine, const Linear *reader, const float *in, const Norm *norm,
                           int rows, int worker) {
    const Model *model = &engine->model;
    bool is_watched = reader->gram != NULL || reader->peaks != NULL;
    bool is_shared = rows > OWN_ROWS || is_watched;
    const Desk *desk = is_shared ? &engine->desk : engine->own_desk + worker;
    if (!is_shared) {
        for (int r = 0; r < rows; r++) prepare_row(model, reader, in, norm, desk, r);
    } else if (norm != NULL || reader->precision != PRECISION_FLOAT32) {
        FOR_EACH_ITEM(r, engine->pool, rows) prepare_row(model, reader, in, norm, desk, r);
        pool_barrier(engine->pool);
    }
    return (Activations){desk->bytes, norm != NULL ? desk->normal : in, desk->scale, desk->offset};
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

/* out = rows of activations times the weights of `linear` */
static void multiply(Engine *engine, const Linear *linear, const Activations *from, int rows,
                     float *out, size_t stride, Finish finish, int worker) {
    int panels = (linear->outputs + PANEL - 1) / PANEL;
    int run = panels_at_once(linear, panels, engine->model.threads);
    FOR_EACH_ITEM(item, engine->pool, (panels + run - 1) / run) {
        int end = item * run + run < panels ? item * run + run : panels;
        for (int panel = item * run; panel < end; panel++) {
            if (linear->precision == PRECISION_INT8)
                matmul_int8(linear, from, rows, out, stride, finish, panel);
            else if (linear->precision == PRECISION_INT4)
                matmul_int4(linear, from, rows, out, stride, finish, panel,
                            engine->unpacked + (size_t)worker * engine->unpacked_size);
            else
                matmul_float(linear, from, rows, out, stride, finish, panel);
        }
    }
    pool_barrier(engine->pool);
}

static void write_head(Engine *engine, int layer, int r, int head) {
    const Model *model = &engine->model;
    size_t all = heads_width(model);
    Row row = engine->all.row[r];
    const float *key = engine->qkv + (size_t)r * 3 * all + all + (size_t)head * model->channels_pad;
    cache_write(model, first_block(model, row.slot, layer, head), row.position, key, key + all);
}

static void write_cache(Engine *engine, int layer) {
    FOR_EACH_ITEM(r, engine->pool, engine->all.count)
    for (int head = 0; head < engine->model.heads; head++) write_head(engine, layer, r, head);
    pool_barrier(engine->pool);
}

/* attended = softmax(queries x keys) x values, head by head. `writes`: who attends with a row's
 * head writes its keys and values first. */
static void attend(Engine *engine, int layer, const RowList *rows, bool writes, int worker) {
    const Model *model = &engine->model;
    size_t all = heads_width(model);
    float scale = model->layer[layer].attention_scale;
    FOR_EACH_ITEM(item, engine->pool, model->heads * rows->groups) {
        int head = item / rows->groups;
        QueryGroup group = rows->group[item % rows->groups];
        Row row = rows->row[group.first];
        if (writes) write_head(engine, layer, group.first, head);
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

/* One matrix after another: `in` is prepared, looked at by who wants to know of it, multiplied. */
static void apply(Engine *engine, const Linear *linear, const float *in, const Norm *norm, int rows,
                  float *out, size_t stride, Finish finish, int worker) {
    Activations from = prepare(engine, linear, in, norm, rows, worker);
    watch(engine, linear, from.floats, rows);
    multiply(engine, linear, &from, rows, out, stride, finish, worker);
}

static void run_layer(Engine *engine, int index, int worker) {
    const Model *model = &engine->model;
    const Layer *layer = model->layer + index;
    size_t width = (size_t)model->width_pad, all = heads_width(model);
    const RowList *rows = &engine->all;
    Norm first = {layer->norm_1_gain, layer->norm_1_bias};
    Norm second = {layer->norm_2_gain, layer->norm_2_bias};

    apply(engine, &layer->qkv, engine->x, &first, rows->count, engine->qkv, 3 * all, STORE, worker);
    bool writes = engine->are_single;
    if (!writes) write_cache(engine, index);
    if (index == model->layers - 1 && engine->wanted.count < engine->all.count) {
        keep_wanted(engine, worker);
        rows = &engine->wanted;
        if (rows->count == 0) return; /* of a prompt that goes on: its keys and values are there */
    }
    attend(engine, index, rows, writes, worker);
    apply(engine, &layer->projection, engine->attended, NULL, rows->count, engine->x, width, ADD_TO,
          worker);

    apply(engine, &layer->expand, engine->x, &second, rows->count, engine->inner,
          (size_t)model->inner_pad, (Finish)model->activation, worker);
    apply(engine, &layer->contract, engine->inner, NULL, rows->count, engine->x, width, ADD_TO,
          worker);
}

/* The last LayerNorm: of rows that need logits for the head, side by side; of the others in place.
 */
static void normalize_wanted(Engine *engine) {
    const Model *model = &engine->model;
    size_t width = (size_t)model->width_pad;
    const Desk *desk = &engine->desk;
    FOR_EACH_ITEM(i, engine->pool, engine->wanted.count) {
        Want want = engine->want[i];
        float *x = engine->x + (size_t)i * width;
        float *normal = want.logits < 0 ? x : desk->normal + (size_t)want.logits * width;
        layer_norm(x, model->norm_gain, model->norm_bias, model->width, model->width_pad,
                   model->epsilon, normal);
        if (want.logits >= 0)
            prepare_row(model, &model->head, desk->normal, NULL, desk, want.logits);
        if (want.hidden >= 0)
            memcpy(engine->hidden + (size_t)want.hidden * model->width, normal,
                   (size_t)model->width * sizeof(float));
    }
    pool_barrier(engine->pool);
}

/* What the head multiplies, of the rows that need logits. */
static Activations prepare_wanted(Engine *engine, int worker) {
    const Model *model = &engine->model;
    Norm norm = {model->norm_gain, model->norm_bias};
    if (engine->scored == engine->wanted.count && engine->hidden == NULL)
        return prepare(engine, &model->head, engine->x, &norm, engine->scored, worker);
    normalize_wanted(engine);
    const Desk *desk = &engine->desk;
    return (Activations){desk->bytes, desk->normal, desk->scale, desk->offset};
}

/* Those from row `first` on. */
static Activations skip_rows(const Activations *all, const Linear *reader, int first) {
    size_t skipped = (size_t)first * (size_t)reader->inputs;
    return (Activations){all->bytes + skipped, all->floats + skipped, all->scale + first,
                         all->offset + first};
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
    Activations wanted = prepare_wanted(engine, worker);
    watch(engine, &model->head, wanted.floats, engine->scored);
    for (int first = 0; engine->logits != NULL && first < engine->scored;) {
        int rows = engine->scored - first;
        if (rows > engine->at_once) rows = engine->at_once;
        Activations from = skip_rows(&wanted, &model->head, first);
        multiply(engine, &model->head, &from, rows, engine->logits, (size_t)model->vocabulary,
                 STORE, worker);
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
