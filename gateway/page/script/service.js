/** Talks to the server this page came from: its models and its completions. */

import { readEvents } from "./event-stream.js";
import { say } from "./language.js";
import { readScored, readTokens } from "./tokens.js";
import { cutWords, failureWords, refusalWords } from "./words.js";

/**
 * What went wrong, in one word: `starting` (it will answer soon), `full`, `key`, `too-long`, `cut`
 * (a stream broke off), `unreachable`, `refused` (the request is at fault) or `failed` (the server
 * is).
 */
export class ServiceError extends Error {
  /** @param retryAfter seconds after which the service wants to be asked again, or null */
  constructor(kind, message, retryAfter = null) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
  }
}

const KIND_OF_STATUS = { 401: "key", 429: "full" };
// The reasons for a 503 that pass by themselves. Another instance follows one that shuts down.
const KIND_OF_CODE = {
  not_ready: "starting",
  draining: "starting",
  drained: "starting",
  unavailable: "starting",
  full: "full",
};

/** @param error the service's own, or null where something on the way to it answered */
function kindOf(status, error) {
  if (status === 400 && error?.code === "context_length_exceeded") return "too-long";
  if (status === 503 && KIND_OF_CODE[error?.code]) return KIND_OF_CODE[error.code];
  if (status >= 502 && status <= 504 && error === null) return "unreachable";
  return KIND_OF_STATUS[status] ?? (status >= 500 ? "failed" : "refused");
}

async function errorOf(response) {
  let error = null;
  try {
    error = (await response.json()).error ?? null;
  } catch {
    // A proxy on the way may answer in HTML; the status still says what to do.
  }
  const kind = kindOf(response.status, error);
  const account = error?.message ?? say("The service answered {status}", { status: response.status });
  const words = kind === "refused" ? refusalWords(account) : failureWords(error?.code);
  const seconds = Number.parseInt(response.headers.get("retry-after"), 10);
  return new ServiceError(kind, words, Number.isNaN(seconds) ? null : seconds);
}

export class Service {
  #key;
  #model;

  /**
   * @param key a function that gives the access key, or null when there is none
   * @param model the one that is asked; the service's own, unless said
   */
  constructor(key, model = null) {
    this.#key = key;
    this.#model = model;
  }

  /** @returns {Service} the same, of another of its models */
  of(model) {
    return new Service(this.#key, model);
  }

  /** @returns {Promise<object[]>} all models that are loaded, the service's own first */
  async models() {
    const response = await this.#ask("v1/models", { method: "GET" });
    return (await response.json()).data;
  }

  /** @returns the service's own model */
  async model() {
    return (await this.models())[0];
  }

  /**
   * Yields `{ index, text, tokens, finish }` as the model writes, and at the end `{ usage }`.
   * Throws ServiceError; an abort through the signal ends it quietly.
   * @param onLanguage called with the text's language where it is not the model's, or null
   */
  async *complete(request, signal, onLanguage = () => {}) {
    const stream = { stream: true, stream_options: { include_usage: true } };
    try {
      const response = await this.#ask("v1/completions", {
        method: "POST",
        body: JSON.stringify({ ...request, ...stream }),
        signal,
      });
      onLanguage(response.headers.get("x-language-warning"));
      yield* this.#parts(response.body);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ServiceError) throw error;
      throw new ServiceError("cut", cutWords());
    }
  }

  /** @returns {Promise<number[]>} token ids of a text */
  async tokenize(text, signal) {
    return (await this.#post("v1/tokenize", { text }, signal)).tokens;
  }

  /** @returns {Promise<string>} the text of token ids */
  async detokenize(ids, signal) {
    return (await this.#post("v1/detokenize", { tokens: ids }, signal)).text;
  }

  /**
   * @param ids of at most a context's tokens
   * @returns {Promise<{text, logprob, ranking}[]>} how likely each was; the first has none
   */
  async score(ids, ranked, signal) {
    const request = { prompt: ids, echo: true, logprobs: ranked, max_tokens: 0 };
    const { choices } = await this.#post("v1/completions", request, signal);
    return readScored(choices[0].logprobs);
  }

  async #post(path, body, signal) {
    const asked = JSON.stringify(this.#model ? { ...body, model: this.#model } : body);
    const response = await this.#ask(path, { method: "POST", body: asked, signal });
    return response.json();
  }

  async *#parts(body) {
    for await (const data of readEvents(body)) {
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new ServiceError("cut", cutWords(event.error.code));
      for (const choice of event.choices) {
        yield {
          index: choice.index,
          text: choice.text,
          tokens: readTokens(choice),
          finish: choice.finish_reason ?? null,
        };
      }
      if (event.usage) yield { usage: event.usage };
    }
    throw new ServiceError("cut", cutWords());
  }

  async #ask(path, options) {
    const headers = { "content-type": "application/json" };
    const key = this.#key();
    if (key) headers.authorization = `Bearer ${utf8(key)}`;
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: "no-store" });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new ServiceError("unreachable", say("The service cannot be reached."));
    }
    if (!response.ok) throw await errorOf(response);
    return response;
  }
}

/** `fetch` takes a header's bytes as characters up to U+00FF, and no others. */
function utf8(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
