/** The certainty view: each word of the model's shaded by its doubt, and what else it weighed. */

import { say } from "./language.js";
import { RunnersUp } from "./runners-up.js";
import { doubt, percent } from "./tokens.js";

/** The manuscript and what follows it as runs of text, each with its token or null. */
function* runs({ manuscript, ghost = null }) {
  const text = ghost ? manuscript.append(ghost) : manuscript;
  const accepted = ghost ? manuscript.prompt.length : text.text.length;
  let end = 0;
  for (const token of text.tokens) {
    if (token.start > end) yield { text: text.text.slice(end, token.start), token: null };
    const whole = text.text.slice(token.start, token.end);
    const words = whole.trimStart();
    // The space before a word has no shade: it would hang over the end of a line.
    if (words && words !== whole) yield { text: whole.slice(0, -words.length), token: null };
    yield { text: words || whole, whole, token, isGhost: token.start >= accepted };
    end = token.end;
  }
  if (end < text.text.length) yield { text: text.text.slice(end), token: null };
}

function nameOf(text) {
  const visible = text.trim();
  return visible || (text.includes("\n") ? say("line break") : say("space"));
}

export class Reading {
  #element;
  #empty;
  #shown = [];
  #runnersUp;

  /** @param acts of the card of a word, see `RunnersUp` */
  constructor(frame, acts) {
    this.#element = frame.querySelector("[data-text]");
    this.#empty = frame.querySelector("[data-empty]");
    this.#runnersUp = new RunnersUp(frame.querySelector("[data-runners-up]"), acts);
    this.#element.addEventListener("keydown", (event) => this.#onKey(event));
    this.#element.addEventListener("focusin", (event) => this.#open(event.target));
    this.#element.addEventListener("pointerover", (event) => this.#open(event.target));
    this.#element.addEventListener("click", (event) => this.#open(event.target));
    frame.addEventListener("pointerleave", () => this.#runnersUp.closeUnlessFocused());
  }

  render(state) {
    const wanted = [...runs(state)];
    let same = 0;
    while (same < this.#shown.length && this.#isShown(wanted[same], this.#shown[same])) same += 1;
    for (const { node } of this.#shown.splice(same)) node.remove();
    for (const run of wanted.slice(same)) {
      const node = this.#draw(run);
      this.#element.append(node);
      this.#shown.push({ ...run, node });
    }
    const first = this.#words[0];
    if (first && !this.#element.querySelector('[tabindex="0"]')) first.tabIndex = 0;
    this.#empty.hidden = first !== undefined;
    if (same < this.#shown.length) this.#runnersUp.closeIfGone();
  }

  /** Moves the focus to the word at a place of the text. */
  goTo(position) {
    const run = this.#shown.find(({ token }) => token && token.end > position);
    run?.node.focus();
    run?.node.scrollIntoView({ block: "center" });
  }

  close() {
    this.#runnersUp.close();
  }

  #isShown(run, shown) {
    return (
      run !== undefined &&
      run.text === shown.text &&
      run.isGhost === shown.isGhost &&
      run.token?.start === shown.token?.start &&
      run.token?.logprob === shown.token?.logprob
    );
  }

  get #words() {
    return [...this.#element.querySelectorAll(".token")];
  }

  #draw({ text, token, isGhost }) {
    if (!token || token.logprob === null) return document.createTextNode(text);
    const word = document.createElement("span");
    word.className = `token doubt-${doubt(token.logprob)}`;
    if (isGhost) word.classList.add("is-ghost");
    if (text.includes("\n") && !text.trim()) word.classList.add("is-blank");
    word.textContent = text;
    word.tabIndex = -1;
    word.setAttribute("role", "button");
    word.setAttribute("aria-label", `${nameOf(text)}, ${percent(token.logprob)}`);
    return word;
  }

  #open(target) {
    const run = this.#shown.find(({ node }) => node === target);
    if (!run?.token) return;
    this.#element.querySelector(".token.is-open")?.classList.remove("is-open");
    target.classList.add("is-open");
    this.#runnersUp.open(target, run.token, run.whole);
  }

  #onKey(event) {
    const words = this.#words;
    const at = words.indexOf(event.target);
    if (at === -1) return;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: words.length - 1 }[event.key];
    if (words[to]) {
      for (const word of words) word.tabIndex = word === words[to] ? 0 : -1;
      words[to].focus();
    } else if (["ArrowDown", "Enter", " "].includes(event.key)) this.#runnersUp.enter();
    else return;
    event.preventDefault();
  }
}
