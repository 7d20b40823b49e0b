/** A first visit in three steps, each taken by doing it. Loaded then alone. */

import { make } from "../dom.js";
import { say } from "../language.js";
import { keepTaught } from "./taught.js";

const ENOUGH_LETTERS = 8;

const STEPS = [
  {
    words: () => say("Write the beginning of a sentence, or take one of those above."),
    isDone: ({ manuscript, ghost }) => manuscript.text.trim().length >= ENOUGH_LETTERS || ghost,
  },
  {
    words: (hasKeys) =>
      hasKeys ? say("Press Tab, and it writes on after your words.") : say("Press Continue, and it writes on after your words."),
    isDone: ({ ghost, writing }) => ghost?.text && !writing,
  },
  {
    words: (hasKeys) =>
      hasKeys
        ? say("Tab keeps it, Esc discards it, and typing on replaces it.")
        : say("Accept keeps it, Drop discards it, and typing on replaces it."),
    isDone: ({ ghost, writing }) => !ghost && !writing,
  },
];

export class Lesson {
  #element;
  #writer;
  #hasKeys;
  #step = 0;
  #isOver = false;
  #lastText = "";

  constructor(writer, before, hasKeys) {
    this.#writer = writer;
    this.#hasKeys = hasKeys;
    this.#element = make("div.notice.lesson", { dataset: { kind: "hint" }, role: "status" });
    before.before(this.#element);
    writer.addEventListener("change", () => this.#look());
    this.#draw();
  }

  #look() {
    if (this.#isOver) {
      // What it said last has been read by whoever writes on.
      if (this.#writer.manuscript.text !== this.#lastText) this.#element.remove();
      return;
    }
    let moved = false;
    while (this.#step < STEPS.length && STEPS[this.#step].isDone(this.#writer)) {
      this.#step += 1;
      moved = true;
    }
    if (moved) this.#draw();
  }

  #draw() {
    const step = STEPS[this.#step];
    if (!step) return this.#end();
    const number = say("{n} of {all}", { n: this.#step + 1, all: STEPS.length });
    this.#element.replaceChildren(
      make("p", {}, make("b", {}, number), " ", step.words(this.#hasKeys)),
      make("div", {}, make("button", { click: () => this.#leave() }, say("Skip"))),
    );
  }

  #end() {
    keepTaught();
    this.#isOver = true;
    this.#lastText = this.#writer.manuscript.text;
    this.#element.replaceChildren(
      make("p", {}, say("That is all. Your texts stay in this browser; the sheet at the top has them.")),
      make("div", {}, make("button", { click: () => this.#leave() }, say("Good"))),
    );
  }

  #leave() {
    keepTaught();
    this.#element.remove();
    document.querySelector("#text").focus();
  }
}
