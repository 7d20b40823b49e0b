/**
 * Between the writer and the service: makes of what a person set what the service understands.
 * Notes are put around the text, words become tokens, and a piece ends with its sentence.
 */

import { say } from "../language.js";
import { ServiceError } from "../service.js";
import { compose } from "./composing.js";
import { endOf } from "./endings.js";
import { measure } from "./window.js";

/** Tokens that one sentence, or one paragraph, may take. */
const MOST_TOKENS = { sentence: 80, paragraph: 240 };
const NEVER = -100;

export class Asking {
  #service;
  #model;
  /** Tokens of words, by model and word. */
  #known = new Map();

  /** @param model a function that gives `{context, digest}` */
  constructor(service, model) {
    this.#service = service;
    this.#model = model;
  }

  /**
   * As `Service.complete`, of a request that may have besides: `memory` and `note` (texts), `until`
   * and `count` (see `endings.js`), and `words`: `[{text, by}]`, `by` a number or `never`.
   */
  async *complete({ memory, note, until, count, words, ...request }, signal, onLanguage) {
    try {
      if (until) request.max_tokens = this.#most(until, count);
      if (memory || note) request.prompt = await this.#prompt(request, { memory, note }, signal);
      if (words?.length) Object.assign(request, await this.#leanings(words, request, signal));
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    const parts = this.#service.complete(request, signal, onLanguage);
    if (until) yield* cut(parts, until, count, request.n ?? 1);
    else yield* parts;
  }

  #most(until, count) {
    return Math.min(MOST_TOKENS[until] * count, Math.floor(this.#model().context / 2));
  }

  /** The text with its notes. Where it does not fit, and may be cut, the text is, never a note. */
  async #prompt({ prompt, max_tokens: length, truncate_prompt: cuts }, { memory = "", note = "" }, signal) {
    const notes = { memory, note };
    if (!cuts) return compose(prompt, notes);
    const { context } = this.#model();
    const found = await measure(prompt, notes, { context, length }, this.#service, signal);
    if (found.memory + found.note > context - Math.min(length, context / 4)) {
      throw new ServiceError("refused", say("The notes alone fill what the model reads: shorten them."));
    }
    return compose(prompt.slice(found.start), notes);
  }

  /** What has some words come more often, less often, or never. */
  async #leanings(words, { guided_regex: form }, signal) {
    const bias = {};
    const banned = new Set();
    for (const { text, by } of words) {
      // Beside a form the service takes no list of words, so their tokens are what is kept out.
      if (by === "never" && text.trim() && !form) for (const each of spellings(text)) banned.add(each);
      else for (const id of await this.tokens(text, signal)) bias[id] = by === "never" ? NEVER : by;
    }
    return {
      ...(Object.keys(bias).length && { logit_bias: bias }),
      ...(banned.size && { bad_words: [...banned] }),
    };
  }

  /** @returns {Promise<number[]>} the tokens that are this word, alone or behind a space */
  async tokens(text, signal) {
    const place = `${this.#model().digest} ${text}`;
    if (!this.#known.has(place)) {
      const forms = text.trim() && !/^\s/.test(text) ? [text, ` ${text}`] : [text];
      const found = await Promise.all(forms.map((form) => this.#service.tokenize(form, signal)));
      this.#known.set(place, found.filter((ids) => ids.length === 1).map(([id]) => id));
    }
    return this.#known.get(place);
  }
}

/** A word as it stands in a sentence and at its start. */
function spellings(text) {
  const word = text.trim();
  const rest = word.slice(1);
  return [word, word[0].toLowerCase() + rest, word[0].toUpperCase() + rest];
}

/** Passes pieces on until each has ended; whoever leaves early has the service stop. */
async function* cut(parts, until, count, pieces) {
  const texts = Array(pieces).fill("");
  const held = Array.from({ length: pieces }, () => []);
  const ended = new Set();
  for await (const part of parts) {
    if (part.usage) {
      yield part;
      continue;
    }
    const { index } = part;
    if (ended.has(index)) continue;
    texts[index] += part.text;
    const end = endOf(texts[index], until, count);
    if (end !== null) {
      ended.add(index);
      yield* upTo(end, [...held[index], part], texts[index]);
      if (ended.size === pieces) return;
      continue;
    }
    // What might be behind the end is held back until it is clear.
    held[index].push(part);
    if (part.finish !== null || !/[.!?…。！？\n]["'”’»)\]」』\s]*$/u.test(texts[index])) {
      yield* held[index];
      held[index] = [];
    }
  }
  for (const rest of held) yield* rest;
}

/** The parts of a text up to a place; tokens that reach beyond it are left out with their words. */
function* upTo(end, parts, text) {
  const index = parts[0].index;
  let at = text.length - parts.reduce((sum, part) => sum + part.text.length, 0);
  for (const part of parts) {
    const room = Math.max(0, end - at);
    at += part.text.length;
    if (room >= part.text.length) {
      yield { ...part, finish: null };
      continue;
    }
    const words = part.text.slice(0, room);
    let length = 0;
    const tokens = part.tokens.filter((token) => (length += token.text.length) <= room);
    const isWhole = tokens.map((token) => token.text).join("") === words;
    yield { index, text: words, tokens: isWhole ? tokens : [], finish: null };
    break;
  }
  yield { index, text: "", tokens: [], finish: "length" };
}
