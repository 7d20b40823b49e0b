/** How many words there are: of the text, and of what is selected. Counted when the keys rest. */

import { number, say } from "../language.js";
import { countWords } from "../store/keeper.js";

const PAUSE_MS = 250;

export class WordCount {
  #element;
  #read;
  #timer = null;
  #text = null;
  #words = 0;

  /** @param read a function that gives `{text, selected}` */
  constructor(element, read) {
    this.#element = element;
    this.#read = read;
  }

  changed() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#show();
    }, PAUSE_MS);
  }

  #show() {
    const { text, selected } = this.#read();
    if (text !== this.#text) this.#words = countWords(text);
    this.#text = text;
    const all = number(this.#words);
    const part = selected ? countWords(selected) : 0;
    this.#element.hidden = this.#words === 0;
    const words = this.#words === 1 ? say("1 word") : say("{n} words", { n: all });
    this.#element.textContent = part
      ? say("{part} of {n} words", { part: number(part), n: all })
      : words;
  }
}
