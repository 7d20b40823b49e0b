/** The small card at a word: what the model weighed in its place, and how likely each was. */

import { iconButton, make } from "./dom.js";
import { leaningWords } from "./guidance/leaning.js";
import { say } from "./language.js";
import { freeHeight } from "./scroll.js";
import { percent } from "./tokens.js";

const SHOWN = 5;
const MARGIN = 12;
const GAP = 2;
const ROW = "li, .runner-what-if";
const ENABLED = "button:not(:disabled)";

/** Spaces and line breaks made visible where they are all there is. */
function display(text) {
  if (text.trim()) return text.trim();
  return text.replaceAll("\n", "↵").replaceAll(" ", "␣") || say("(end of the text)");
}

export class RunnersUp {
  #card;
  #word = null;
  #acts;
  #foot = make("div.runner-what-if");

  /**
   * @param acts `retell(token, other)`: that word instead, and on from there; `whatIf(token)`: on
   *   from before it; `leaning(text)` and
   *   `lean(text, step)`: how much a word is wanted in all that is written
   */
  constructor(card, acts) {
    this.#card = card;
    this.#acts = acts;
    card.append(this.#foot);
    card.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.#card.hidden) return;
      event.preventDefault();
      this.#leave();
    });
    card.addEventListener("focusout", ({ relatedTarget }) => {
      if (!card.contains(relatedTarget) && relatedTarget !== this.#word) this.close();
    });
    // A phone that is turned, a window made smaller: the words move, and the card with them.
    new ResizeObserver(() => card.hidden || this.#put()).observe(card.parentElement);
  }

  open(word, token, text) {
    if (this.#word === word && !this.#card.hidden) return;
    this.#word = word;
    const title = this.#card.querySelector("[data-title]");
    title.textContent = say("“{word}” was {n} likely", {
      word: display(text),
      n: percent(token.logprob),
    });
    const list = this.#card.querySelector("ul");
    list.replaceChildren(
      ...token.ranking.slice(0, SHOWN).map((other) => this.#row(token, other, text)),
    );
    this.#foot.replaceChildren(...(token.start > 0 ? [this.#whatIf(token)] : []));
    this.#card.hidden = false;
    this.#put();
  }

  /** Moves the focus into the card. */
  enter() {
    this.#card.querySelector("button:not(:disabled, .icon-button)")?.focus();
  }

  close() {
    this.#card.hidden = true;
    this.#word?.classList.remove("is-open");
    this.#word = null;
  }

  closeUnlessFocused() {
    if (this.#word !== document.activeElement && !this.#card.contains(document.activeElement)) {
      this.close();
    }
  }

  closeIfGone() {
    if (this.#word && !this.#word.isConnected) this.close();
  }

  #row(token, other, text) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    const taken = other.text === text;
    button.disabled = taken || other.text === "";
    const word = document.createElement("span");
    word.className = "runner-word";
    word.textContent = display(other.text);
    const bar = document.createElement("span");
    bar.className = "runner-bar";
    bar.style.setProperty("--share", Math.exp(other.logprob));
    const share = document.createElement("span");
    share.className = "runner-share";
    share.textContent = percent(other.logprob);
    button.append(word, bar, share);
    if (taken) item.className = "is-taken";
    else button.title = say("Go on with “{word}” instead", { word: display(other.text) });
    button.addEventListener("click", () => {
      this.close();
      this.#acts.retell(token, other);
    });
    item.append(button);
    if (other.text) item.append(...this.#leaningOf(other.text));
    return item;
  }

  /** Has the model go on from before the word, whatever comes; the word stays a branch. */
  #whatIf(token) {
    const go = () => {
      this.close();
      this.#acts.whatIf(token);
    };
    return make("button", { click: go }, say("What if: go on from here"));
  }

  /** Buttons that have a word come less or more often from now on, and how much that is. */
  #leaningOf(text) {
    const word = display(text);
    const shown = make("span.runner-leaning", {});
    const show = () => {
      const words = leaningWords(this.#acts.leaning(text));
      shown.textContent = words;
      shown.hidden = !words;
    };
    const lean = (step) => {
      this.#acts.lean(text, step);
      show();
    };
    show();
    return [
      iconButton("less", say("{word}: less often, then never", { word }), () => lean(-1)),
      iconButton("plus", say("{word}: more often", { word }), () => lean(1)),
      shown,
    ];
  }

  #put() {
    const frame = this.#card.offsetParent.getBoundingClientRect();
    const boxes = this.#word.getClientRects();
    const height = this.#card.offsetHeight + GAP;
    const [first, last] = [boxes[0], boxes[boxes.length - 1]];
    // Below the word, or above it where the tools would hide it.
    const isAbove = last.bottom + height > freeHeight() && first.top > height;
    const box = isAbove ? first : last;
    const top = isAbove ? first.top - height : last.bottom + GAP;
    const widest = frame.width - this.#card.offsetWidth;
    const left = Math.min(Math.max(box.left - frame.left - MARGIN, 0), Math.max(widest, 0));
    this.#card.style.setProperty("left", `${left}px`);
    this.#card.style.setProperty("top", `${top - frame.top}px`);
  }

  #onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const isAlong = event.key === "ArrowRight" || event.key === "ArrowLeft";
    const row = document.activeElement.closest(ROW);
    const inRow = [...(row?.querySelectorAll("button:not(:disabled)") ?? [])];
    const rows = [...this.#card.querySelectorAll(ROW)].filter((each) => each.querySelector(ENABLED));
    const to = isAlong
      ? inRow[inRow.indexOf(document.activeElement) + step]
      : rows[rows.indexOf(row) + step]?.querySelector(ENABLED);
    if (to) to.focus();
    else if (event.key === "ArrowUp") this.#word?.focus();
  }

  #leave() {
    const inside = this.#card.contains(document.activeElement);
    const word = this.#word;
    this.close();
    if (inside) word?.focus();
    if (inside) this.close();
  }
}
