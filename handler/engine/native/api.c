#include "api.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dot4.h"
#include "logprob.h"

#define HUGE_PAGE ((size_t)2 << 20)

EXPORT const char *gpt2_isa(void) {
    return ISA;
}

EXPORT uint64_t gpt2_slot_bytes(const Model *model) {
    return (uint64_t)model->layers * (uint64_t)layer_bytes(model);
}

/* Zeroed memory that begins at a vector's border, on large pages where it is large. */
static void *allocate(size_t bytes) {
    void *memory = NULL;
    size_t border = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    bytes = (bytes + border - 1) / border * border;
    if (posix_memalign(&memory, border, bytes) != 0) return NULL;
    if (border == HUGE_PAGE) madvise(memory, bytes, MADV_HUGEPAGE);
    return memset(memory, 0, bytes);
}

static bool allocate_rows(RowList *list, size_t rows) {
    list->row = calloc(rows, sizeof *list->row);
    list->group = calloc(rows, sizeof *list->group);
    return list->row != NULL && list->group != NULL;
}

static bool allocate_scratch(Engine *engine) {
    const Model *model = &engine->model;
    size_t entries = (size_t)QUERY_TILE * (size_t)model->positions_pad;
    engine->scratch = calloc((size_t)model->threads, sizeof *engine->scratch);
    if (engine->scratch == NULL) return false;
    for (int i = 0; i < model->threads; i++) {
        AttentionScratch *scratch = engine->scratch + i;
        scratch->scores = allocate(entries * sizeof(float));
        scratch->high = allocate(entries);
        scratch->low = allocate(entries);
        if (scratch->scores == NULL || scratch->high == NULL || scratch->low == NULL) return false;
    }
    return true;
}

static bool allocate_sampler(Sampler *sampler, int32_t vocabulary) {
    size_t blocks = ((size_t)vocabulary + SAMPLE_BLOCK - 1) / SAMPLE_BLOCK;
    size_t room = blocks * SAMPLE_BLOCK;
    sampler->vocabulary = vocabulary;
    sampler->values = allocate(room * sizeof *sampler->values);
    sampler->block_sum = calloc(blocks, sizeof *sampler->block_sum);
    sampler->block_most = calloc(blocks, sizeof *sampler->block_most);
    sampler->list = calloc(room, sizeof *sampler->list);
    sampler->sorting = calloc(room, sizeof *sampler->sorting);
    return sampler->values != NULL && sampler->block_sum != NULL && sampler->block_most != NULL &&
           sampler->list != NULL && sampler->sorting != NULL;
}

static void free_sampler(Sampler *sampler) {
    free(sampler->values);
    free(sampler->block_sum);
    free(sampler->block_most);
    free(sampler->list);
    free(sampler->sorting);
}

static bool allocate_samplers(Engine *engine) {
    const Model *model = &engine->model;
    engine->sampler = calloc((size_t)model->threads, sizeof *engine->sampler);
    if (engine->sampler == NULL) return false;
    for (int i = 0; i < model->threads; i++)
        if (!allocate_sampler(engine->sampler + i, model->vocabulary)) return false;
    /* Not zeroed: what no step uses takes no memory. */
    int32_t rows = model->max_rows < LOGIT_ROWS ? model->max_rows : LOGIT_ROWS;
    return posix_memalign((void **)&engine->own_logits, 64,
                          (size_t)rows * (size_t)model->vocabulary * sizeof(float)) == 0;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t unpacked_size(const Linear *linear) {
    return linear->precision == PRECISION_INT4 ? (size_t)linear->inputs * PANEL : 0;
}

static bool allocate_unpacked(Engine *engine) {
    const Model *model = &engine->model;
    engine->unpacked_size = unpacked_size(&model->head);
    for (int i = 0; i < model->layers; i++) {
        const Layer *layer = model->layer + i;
        const Linear *all[] = {&layer->qkv, &layer->projection, &layer->expand, &layer->contract};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            engine->unpacked_size = larger(engine->unpacked_size, unpacked_size(all[j]));
    }
    if (engine->unpacked_size == 0) return true;
    engine->unpacked = allocate(engine->unpacked_size * (size_t)model->threads);
    return engine->unpacked != NULL;
}

static bool allocate_desk(Desk *desk, size_t rows, size_t width, size_t inputs) {
    desk->normal = allocate(rows * width * sizeof(float));
    desk->bytes = allocate(rows * inputs);
    desk->scale = allocate(rows * sizeof(float));
    desk->offset = allocate(rows * sizeof(int32_t));
    return desk->normal != NULL && desk->bytes != NULL && desk->scale != NULL &&
           desk->offset != NULL;
}

static void free_desk(Desk *desk) {
    free(desk->normal);
    free(desk->bytes);
    free(desk->scale);
    free(desk->offset);
}

static bool allocate_desks(Engine *engine) {
    const Model *model = &engine->model;
    size_t width = (size_t)model->width_pad, inner = (size_t)model->inner_pad;
    size_t inputs =
        larger(larger(width, inner), (size_t)model->heads * (size_t)model->channels_pad);
    engine->own_desk = calloc((size_t)model->threads, sizeof *engine->own_desk);
    if (engine->own_desk == NULL) return false;
    for (int i = 0; i < model->threads; i++)
        if (!allocate_desk(engine->own_desk + i, OWN_ROWS, width, inputs)) return false;
    return allocate_desk(&engine->desk, (size_t)model->max_rows, width, inputs);
}

static bool allocate_buffers(Engine *engine) {
    const Model *model = &engine->model;
    size_t rows = (size_t)model->max_rows, width = (size_t)model->width_pad;
    size_t heads = (size_t)model->heads * (size_t)model->channels_pad,
           inner = (size_t)model->inner_pad;
    engine->x = allocate(rows * width * sizeof(float));
    engine->qkv = allocate(rows * 3 * heads * sizeof(float));
    engine->attended = allocate(rows * heads * sizeof(float));
    engine->inner = allocate(rows * inner * sizeof(float));
    engine->want = calloc(rows, sizeof *engine->want);
    engine->place = calloc(rows, sizeof *engine->place);
    return engine->want != NULL && engine->place != NULL && engine->x != NULL &&
           engine->qkv != NULL && engine->attended != NULL && engine->inner != NULL &&
           allocate_desks(engine) && allocate_rows(&engine->all, rows) &&
           allocate_rows(&engine->wanted, rows) && allocate_scratch(engine) &&
           allocate_samplers(engine) && allocate_unpacked(engine);
}

EXPORT Engine *gpt2_create(const Model *model) {
    Engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) return NULL;
    engine->model = *model;
    if (allocate_buffers(engine)) engine->pool = pool_create(model->threads);
    if (engine->pool == NULL) {
        gpt2_destroy(engine);
        return NULL;
    }
    return engine;
}

EXPORT void gpt2_destroy(Engine *engine) {
    if (engine->pool != NULL) pool_destroy(engine->pool);
    for (int i = 0; engine->scratch != NULL && i < engine->model.threads; i++) {
        free(engine->scratch[i].scores);
        free(engine->scratch[i].high);
        free(engine->scratch[i].low);
    }
    for (int i = 0; engine->sampler != NULL && i < engine->model.threads; i++)
        free_sampler(engine->sampler + i);
    for (int i = 0; engine->own_desk != NULL && i < engine->model.threads; i++)
        free_desk(engine->own_desk + i);
    free_desk(&engine->desk);
    void *owned[] = {engine->scratch,    engine->sampler,      engine->x,        engine->qkv,
                     engine->attended,   engine->inner,        engine->all.row,  engine->all.group,
                     engine->wanted.row, engine->wanted.group, engine->want,     engine->place,
                     engine->own_logits, engine->unpacked,     engine->own_desk, engine};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
}

static Status check_rows(const Model *model, const Row *rows, int32_t count) {
    if (count < 1 || count > model->max_rows) return BAD_COUNT;
    for (int32_t i = 0; i < count; i++) {
        if (rows[i].token < 0 || rows[i].token >= model->vocabulary) return BAD_TOKEN;
        if (rows[i].slot < 0 || rows[i].slot >= model->slots) return BAD_SLOT;
        if (rows[i].position < 0 || rows[i].position >= model->positions) return BAD_POSITION;
    }
    for (int32_t i = 0, first = 0; i < count; i++) {
        if (i > 0 && rows[i].slot != rows[i - 1].slot) first = i;
        if (i > first && rows[i].position != rows[i - 1].position + 1) return BAD_ORDER;
        for (int32_t j = 0; i == first && j < first; j++)
            if (rows[j].slot == rows[i].slot) return BAD_ORDER;
    }
    return OK;
}

static Status check_wanted(const int32_t *want, int32_t wanted, int32_t count) {
    if (wanted < 0 || wanted > count) return BAD_COUNT;
    for (int32_t i = 0; i < wanted; i++)
        if (want[i] < 0 || want[i] >= count || (i > 0 && want[i] <= want[i - 1])) return BAD_WANT;
    return OK;
}

/* Groups rows of consecutive positions, for attention. */
static void group_rows(RowList *list) {
    list->groups = 0;
    for (int32_t i = 0; i < list->count; i++) {
        QueryGroup *group = list->group + list->groups - 1;
        bool follows = i > 0 && list->row[i].slot == list->row[i - 1].slot &&
                       list->row[i].position == list->row[i - 1].position + 1;
        if (follows && group->count < QUERY_TILE)
            group->count++;
        else
            list->group[list->groups++] = (QueryGroup){i, 1};
    }
}

static void set_rows(Engine *engine, const Row *rows, int32_t count) {
    memcpy(engine->all.row, rows, (size_t)count * sizeof *rows);
    engine->all.count = count;
    engine->wanted.count = 0;
    engine->scored = 0;
    group_rows(&engine->all);
}

static void group_wanted(Engine *engine) {
    const RowList *all = &engine->all;
    group_rows(&engine->wanted);
    /* Rows of one slot would stand together, in one group. */
    engine->are_single = all->groups == all->count && engine->wanted.count == all->count;
}

static void add_want(Engine *engine, Want want) {
    engine->wanted.row[engine->wanted.count] = engine->all.row[want.row];
    engine->want[engine->wanted.count++] = want;
    if (want.logits >= 0) engine->scored++;
}

EXPORT int32_t gpt2_step(Engine *engine, const Row *rows, int32_t count, const int32_t *want,
                         int32_t wanted, float *logits, float *hidden) {
    Status status = check_rows(&engine->model, rows, count);
    if (status == OK) status = check_wanted(want, wanted, count);
    if (status != OK) return status;
    set_rows(engine, rows, count);
    for (int32_t i = 0; i < wanted; i++)
        add_want(engine, (Want){want[i], i, hidden != NULL ? i : -1});
    group_wanted(engine);
    engine->logits = logits;
    engine->at_once = wanted;
    engine->hidden = hidden;
    engine->asked = 0;
    run_step(engine);
    return OK;
}

/* Judges who asks, and finds the rows that are asked for. */
static void place_asks(Engine *engine, Ask *const *asks, int32_t asked, const int32_t *want,
                       int32_t wanted) {
    int32_t count = engine->all.count, hidden = 0;
    for (int32_t r = 0; r < count; r++) engine->place[r] = -1;
    for (int32_t i = 0; i < asked; i++) {
        bool is_good = is_answerable(asks[i], count, engine->model.vocabulary);
        asks[i]->token = BAD_ASK;
        asks[i]->place = -1;
        if (is_good) engine->place[asks[i]->place = asks[i]->row] = 0;
    }
    for (int32_t r = 0; r < count; r++) {
        Want row = {r, engine->place[r] < 0 ? -1 : engine->scored, -1};
        if (hidden < wanted && want[hidden] == r) row.hidden = hidden++;
        engine->place[r] = row.logits;
        if (row.logits >= 0 || row.hidden >= 0) add_want(engine, row);
    }
    for (int32_t i = 0; i < asked; i++)
        if (asks[i]->place >= 0) asks[i]->place = engine->place[asks[i]->place];
}

EXPORT int32_t gpt2_step_and_answer(Engine *engine, const Row *rows, int32_t count,
                                    Ask *const *asks, int32_t asked, const int32_t *want,
                                    int32_t wanted, float *hidden) {
    Status status = check_rows(&engine->model, rows, count);
    if (status == OK) status = check_wanted(want, wanted, count);
    if (status == OK && asked < 0) status = BAD_COUNT;
    if (status != OK) return status;
    set_rows(engine, rows, count);
    place_asks(engine, asks, asked, want, wanted);
    group_wanted(engine);
    engine->logits = engine->own_logits;
    engine->at_once = LOGIT_ROWS;
    engine->hidden = hidden;
    engine->ask = asks;
    engine->asked = asked;
    run_step(engine);
    return OK;
}

EXPORT int32_t gpt2_decode(Engine *engine, const Row *rows, int32_t count, Ask *const *asks,
                           Decode *decode) {
    Status status = check_rows(&engine->model, rows, count);
    if (status != OK) return status;
    set_rows(engine, rows, count);
    if (count > LOGIT_ROWS || !is_decodable(engine, asks, decode)) return BAD_DECODE;
    place_asks(engine, asks, count, NULL, 0);
    /* What cannot be answered has no logits, and nothing that follows. */
    if (engine->scored < count) return BAD_DECODE;
    group_wanted(engine);
    engine->logits = engine->own_logits;
    engine->at_once = LOGIT_ROWS;
    engine->hidden = NULL;
    engine->ask = asks;
    engine->asked = count;
    engine->decode = decode;
    run_decode(engine);
    return OK;
}

EXPORT int32_t gpt2_copy(Engine *engine, int32_t source, int32_t target, int32_t length) {
    const Model *model = &engine->model;
    if (source < 0 || source >= model->slots || target < 0 || target >= model->slots)
        return BAD_SLOT;
    if (length < 0 || length > model->positions) return BAD_POSITION;
    if (source != target) cache_copy(model, source, target, length);
    return OK;
}

EXPORT double gpt2_log_probability(const float *logits, int32_t vocabulary, int32_t token,
                                   int32_t top, int32_t *top_token, double *top_value) {
    if (token < 0 || token >= vocabulary || top < 0 || top > vocabulary) return NAN;
    return log_probability(logits, vocabulary, token, top, top_token, top_value);
}
