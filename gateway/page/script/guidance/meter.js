/** How much of what the model can read is taken, as a thin line; and where it begins to forget. */

import { number, say } from "../language.js";
import { measure } from "./window.js";

/** After the last key. In between it is estimated. */
const PAUSE_MS = 900;
const CHARACTERS_PER_TOKEN = 4;

export class Meter {
  #line;
  #words;
  #service;
  #onMark;
  #asked = null;
  #found = null;
  #timer = null;
  #run = null;

  /**
   * @param line an element of role `meter`; `words` one that says it in words
   * @param onMark takes where the model begins to read, or null when it reads all of it
   */
  constructor(line, words, service, onMark) {
    this.#line = line;
    this.#words = words;
    this.#service = service;
    this.#onMark = onMark;
  }

  /** @param state `{text, notes, context, length}`; a context of 0: no model is known yet */
  render(state) {
    const isNew = Object.keys(state).some((name) => state[name] !== this.#asked?.[name]);
    if (!isNew) return;
    this.#asked = state;
    if (!state.context || (!state.text && !state.memory && !state.note)) {
      this.#clear();
      return;
    }
    if (this.#found) this.#draw(this.#estimate(state));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#measure(state), this.#found ? PAUSE_MS : 0);
  }

  #clear() {
    clearTimeout(this.#timer);
    this.#run?.abort();
    this.#found = null;
    this.#line.hidden = true;
    this.#words.textContent = "";
    this.#onMark(null);
  }

  async #measure(state) {
    this.#run?.abort();
    const { signal } = (this.#run = new AbortController());
    const { text, memory, note } = state;
    try {
      const found = await measure(text, { memory, note }, state, this.#service, signal);
      if (signal.aborted) return;
      this.#found = { ...found, characters: text.length };
      this.#draw(this.#found);
      this.#onMark(found.start || null);
    } catch (error) {
      // It is a hint: where the service cannot count, there is none.
      if (!signal.aborted && !error.kind) throw error;
    }
  }

  #estimate({ text, context }) {
    const added = (text.length - this.#found.characters) / CHARACTERS_PER_TOKEN;
    const known = this.#found.text + (this.#found.start ? Math.min(0, added) : added);
    return { ...this.#found, context, text: Math.max(0, Math.round(known)) };
  }

  #draw({ memory, note, text, context, start }) {
    const used = Math.min(memory + note + text, context);
    const share = (tokens) => `${(100 * Math.min(1, tokens / context)).toFixed(2)}%`;
    this.#line.hidden = false;
    this.#line.style.setProperty("--memory", share(memory + note));
    this.#line.style.setProperty("--used", share(used));
    this.#line.classList.toggle("is-full", start > 0);
    const words = this.#wordsOf({ memory, note, used, context, start });
    this.#words.textContent = words;
    this.#line.title = words;
    this.#line.setAttribute("aria-valuemax", context);
    this.#line.setAttribute("aria-valuenow", used);
    this.#line.setAttribute("aria-valuetext", words);
  }

  #wordsOf({ memory, note, used, context, start }) {
    const parts = [say("{used} of {all} tokens", { used: number(used), all: number(context) })];
    if (memory + note) parts.push(say("{n} of them notes", { n: number(memory + note) }));
    if (start) parts.push(say("it has forgotten everything above the mark"));
    return parts.join(", ");
  }
}
