/** The small card at a word: what the model weighed in its place, and how likely each was. */

import { freeHeight } from "./scroll.js";
import { percent } from "./tokens.js";

const SHOWN = 5;
const MARGIN = 12;
const GAP = 2;

/** Spaces and line breaks made visible where they are all there is. */
function display(text) {
  if (text.trim()) return text.trim();
  return text.replaceAll("\n", "↵").replaceAll(" ", "␣") || "(end of the text)";
}

export class RunnersUp {
  #card;
  #word = null;
  #onRetell;

  constructor(card, onRetell) {
    this.#card = card;
    this.#onRetell = onRetell;
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
    title.textContent = `“${display(text)}” was ${percent(token.logprob)} likely`;
    const list = this.#card.querySelector("ul");
    list.replaceChildren(
      ...token.ranking.slice(0, SHOWN).map((other) => this.#row(token, other, text)),
    );
    this.#card.hidden = false;
    this.#put();
  }

  /** Moves the focus into the card. */
  enter() {
    this.#card.querySelector("button:not(:disabled)")?.focus();
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
    else button.title = `Go on with “${display(other.text)}” instead`;
    button.addEventListener("click", () => {
      this.close();
      this.#onRetell(token, other);
    });
    item.append(button);
    return item;
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
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...this.#card.querySelectorAll("button:not(:disabled)")];
    const to = buttons[buttons.indexOf(document.activeElement) + step];
    if (to) to.focus();
    else if (step < 0) this.#word?.focus();
  }

  #leave() {
    const inside = this.#card.contains(document.activeElement);
    const word = this.#word;
    this.close();
    if (inside) word?.focus();
    if (inside) this.close();
  }
}
