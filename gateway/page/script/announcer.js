/** Says to screen readers what others see: a continuation when it is whole, and what went wrong. */

import { say } from "./language.js";

export class Announcer {
  #element;
  #wasWriting = false;

  constructor(element) {
    this.#element = element;
  }

  say(words) {
    this.#element.textContent = words;
  }

  /** Reads out what was written once it is complete, not word by word. */
  follow({ writing, endless, ghost, choices }) {
    const ended = this.#wasWriting && !writing;
    this.#wasWriting = writing;
    if (writing && !endless && !ghost?.text && !choices?.[0].text) this.say(say("Writing."));
    if (!ended) return;
    if (choices) {
      this.say(say("{n} ways to choose from, with the keys 1 to {n}.", { n: choices.length }));
    } else if (ghost?.text) this.say(`${ghost.text.trim()}. ${say("Tab accepts, Escape drops.")}`);
  }
}
