/** The buttons below the text: which of them make sense now, and how fast the model wrote. */

import { decimal, say } from "./language.js";

const MODES = {
  idle: ["continue", "branch", "keep-going"],
  offered: ["accept", "drop", "another"],
  endless: ["stop"],
  choosing: ["drop"],
};

function modeOf({ ghost, choices, endless }) {
  if (endless) return "endless";
  if (choices) return "choosing";
  return ghost ? "offered" : "idle";
}

export class Tools {
  #bar;
  #speed;

  /** @param acts what each button's `data-act` does */
  constructor(bar, acts) {
    this.#bar = bar;
    this.#speed = bar.querySelector("[data-speed]");
    // A click on a button leaves the caret, and a phone's keyboard, where they are.
    bar.addEventListener("mousedown", (event) => event.preventDefault());
    bar.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-act]");
      if (!button) return;
      button.closest("[popover]")?.hidePopover();
      acts[button.dataset.act]();
    });
  }

  /** @param has `branch, another`: whether these are to be had at all */
  render(writer, has) {
    const { manuscript, ghost, writing, speed } = writer;
    const mode = modeOf(writer);
    const focused = document.activeElement?.closest?.("[data-act]");
    for (const button of this.#bar.querySelectorAll("[data-mode]")) {
      const { act } = button.dataset;
      button.hidden = !MODES[mode].includes(act) || has[act] === false;
    }
    const empty = manuscript.text.trim() === "";
    for (const act of MODES.idle) this.#button(act).disabled = empty;
    this.#button("accept").disabled = !ghost?.text;
    this.#button("another").disabled = writing || !ghost?.text;
    this.#button("undo").disabled = !writer.canUndo;
    this.#button("redo").disabled = !writer.canRedo;
    // A button that vanishes under the finger hands its focus to the one that took its place.
    if (focused?.hidden) this.focus();
    this.#showSpeed(speed);
  }

  /** Shows a button where it makes sense, and hides it where it does not. */
  offer(act, makesSense) {
    this.#button(act).hidden = !makesSense;
  }

  focus() {
    this.#bar.querySelector("[data-mode]:not([hidden], :disabled)")?.focus();
  }

  #button(act) {
    return this.#bar.querySelector(`[data-act="${act}"]`);
  }

  #showSpeed(speed) {
    const first = speed?.timeToFirstToken ?? null;
    const rate = speed?.rate ?? null;
    // The last speed stays until there is another: the buttons beside it keep their places.
    if (first === null) return;
    this.#speed.hidden = false;
    const [rateShown, firstShown] = this.#speed.children;
    rateShown.textContent = rate === null ? "" : say("{n} tokens/s", { n: decimal(rate, rate < 10 ? 1 : 0) });
    const time = first < 1000 ? `${Math.round(first)} ms` : `${decimal(first / 1000, 1)} s`;
    firstShown.textContent = say("first after {time}", { time });
  }
}
