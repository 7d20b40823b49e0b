/** What a person tells the model besides the text: two notes, words to prefer or avoid, a form. */

import { patternOf } from "./forms.js";
import { stepped } from "./leaning.js";

const NOTES = ["memory", "note"];

export class Guidance extends EventTarget {
  #fields;
  /** Words and how much they are wanted, as `Asking` takes them. */
  #words = new Map();

  /** @param form has the fields `memory`, `note`, `form` and `pattern` */
  constructor(form) {
    super();
    this.#fields = form.elements;
    form.addEventListener("input", () => this.#changed());
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  get notes() {
    return { memory: this.#fields.memory.value, note: this.#fields.note.value };
  }

  /** @returns {{text, by}[]} */
  get words() {
    return [...this.#words].map(([text, by]) => ({ text, by }));
  }

  /** Has a word come more often (1) or less often (-1) than now. */
  lean(text, step) {
    this.set(text, stepped(this.leaning(text), step));
  }

  /** @returns {number | "never"} */
  leaning(text) {
    return this.#words.get(text) ?? 0;
  }

  set(text, by) {
    if (by === 0) this.#words.delete(text);
    else this.#words.set(text, by);
    this.#changed();
  }

  /** What is kept with a text: what was said alone. */
  get chosen() {
    const { form, pattern } = this.#fields;
    const values = { ...this.notes, words: this.words };
    if (form.value) Object.assign(values, { form: form.value, pattern: pattern.value });
    return Object.fromEntries(Object.entries(values).filter(([, value]) => value.length > 0));
  }

  /** What was kept with a text, or came with a link; nothing else stays. */
  restore(chosen) {
    for (const name of NOTES) this.#fields[name].value = String(chosen[name] ?? "");
    this.#fields.form.value = String(chosen.form ?? "");
    this.#fields.pattern.value = String(chosen.pattern ?? "");
    this.#words = new Map(readWords(chosen.words).map(({ text, by }) => [text, by]));
    this.#changed();
  }

  /** Options of a request, for `Asking`. */
  options() {
    const { form, pattern } = this.#fields;
    const guided = patternOf(form.value, pattern.value);
    const found = Object.entries({ ...this.notes, words: this.words });
    const said = Object.fromEntries(found.filter(([, value]) => value.length > 0));
    return guided ? { ...said, guided_regex: guided } : said;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** @returns {{text, by}[]} as far as it is such a list: it may come from a file or a link */
export function readWords(words) {
  if (!Array.isArray(words)) return [];
  const isLeaning = (by) => by === "never" || (Number.isFinite(by) && Math.abs(by) <= 100);
  return words
    .filter((word) => typeof word?.text === "string" && word.text && isLeaning(word.by))
    .slice(0, 100)
    .map(({ text, by }) => ({ text: text.slice(0, 100), by }));
}
