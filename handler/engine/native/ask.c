#include "ask.h"

#include <math.h>
#include <stddef.h>

#include "logprob.h"

static bool are_tokens(const int32_t *token, int32_t count, int32_t vocabulary) {
    for (int32_t i = 0; i < count; i++)
        if (token[i] < 0 || token[i] >= vocabulary) return false;
    return count >= 0;
}

/* Comparisons with NaN are false. */
static bool is_samplable(const Sampling *options, int32_t vocabulary) {
    return options->temperature >= 0.0f && options->top_p > 0.0f && options->min_p >= 0.0f &&
           options->top_k >= 0 && options->repetition_penalty > 0.0f &&
           options->seen_count <= options->seen_room &&
           are_tokens(options->seen_token, options->seen_count, vocabulary) &&
           are_tokens(options->bias_token, options->bias_count, vocabulary) &&
           (options->allowed == NULL || options->allowed_words == (vocabulary + 31) / 32);
}

bool is_answerable(const Ask *ask, int32_t rows, int32_t vocabulary) {
    if (ask->row < 0 || ask->row >= rows || ask->top < -1 || ask->top > vocabulary) return false;
    if (ask->given >= 0) return ask->given < vocabulary && ask->top >= 0;
    return ask->given == -1 && is_samplable(&ask->sampling, vocabulary);
}

void answer(Sampler *sampler, const float *logits, Ask *ask) {
    ask->token = ask->given >= 0 ? ask->given : sample(sampler, logits, &ask->sampling);
    if (ask->top < 0 || ask->token < 0) return;
    if (ask->is_drawn != 0 && ask->given < 0)
        ask->log_probability = drawn_log_probability(sampler, logits, &ask->sampling, ask->token,
                                                     ask->top, ask->top_token, ask->top_value);
    else
        ask->log_probability = log_probability(logits, sampler->vocabulary, ask->token, ask->top,
                                               ask->top_token, ask->top_value);
    if (isnan(ask->log_probability)) ask->token = NOT_FINITE;
}
