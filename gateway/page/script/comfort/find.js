/** Find and replace, in a bar above the tools. Loaded when it is asked for. */

import { iconButton, make, needStyle } from "../dom.js";
import { say } from "../language.js";
import { matchesOf, replaced } from "./matches.js";

/** Of a very common word only so many are marked, the current one and those behind it. */
const MARKED = 500;

export class Find {
  #parts;
  #bar;
  #words = make("input", { name: "find", "aria-label": say("Find"), placeholder: say("Find"), dir: "auto" });
  #other = make("input", { name: "replace", "aria-label": say("Replace with"), placeholder: say("Replace with"), dir: "auto" });
  #case = make("input", { type: "checkbox", name: "case" });
  #said = make("p.find-said", { role: "status" });
  #matches = [];
  #at = 0;

  /** @param parts `text()`, `rewrite(text)`, `paper`, `onClose()`; the bar goes above `before` */
  constructor(parts, before) {
    this.#parts = parts;
    this.#bar = make(
      "form.find",
      { "aria-label": say("Find and replace"), role: "search", hidden: true },
      make(
        "div.find-line",
        {},
        this.#words,
        this.#said,
        iconButton("up", say("The one before"), () => this.#move(-1)),
        iconButton("down", say("The next one"), () => this.#move(1)),
        iconButton("close", say("Close"), () => this.close()),
      ),
      make(
        "div.find-line",
        {},
        this.#other,
        make("label.check", {}, this.#case, say("Match case")),
        make("button", { click: () => this.#replace() }, say("Replace")),
        make("button", { click: () => this.#replaceAll() }, say("All")),
      ),
    );
    before.before(this.#bar);
    this.#words.addEventListener("input", () => this.#search());
    this.#case.addEventListener("change", () => this.#search());
    this.#bar.addEventListener("submit", (event) => event.preventDefault());
    this.#bar.addEventListener("keydown", (event) => this.#onKey(event));
  }

  async open() {
    await needStyle("find");
    this.#bar.hidden = false;
    const selected = this.#parts.paper.selected;
    if (selected && !selected.includes("\n")) this.#words.value = selected;
    this.#words.focus();
    this.#words.select();
    this.#search(this.#parts.paper.place);
  }

  close() {
    const match = this.#matches[this.#at];
    this.#bar.hidden = true;
    this.#mark([]);
    this.#parts.onClose(match);
  }

  /** Something else changed the text. */
  changed() {
    if (this.#bar.hidden) return;
    const from = this.#matches[this.#at]?.start ?? 0;
    this.#search(from, false);
  }

  #search(from = this.#matches[this.#at]?.start ?? 0, goes = true) {
    this.#matches = matchesOf(this.#parts.text(), this.#words.value, this.#case.checked);
    const next = this.#matches.findIndex(({ start }) => start >= from);
    this.#at = Math.max(next, 0);
    this.#show(goes);
  }

  #move(step) {
    const all = this.#matches.length;
    if (!all) return;
    this.#at = (this.#at + step + all) % all;
    this.#show(true);
  }

  #replace() {
    const match = this.#matches[this.#at];
    if (!match) return;
    this.#parts.rewrite(replaced(this.#parts.text(), [match], this.#other.value));
    this.#search(match.start + this.#other.value.length);
  }

  #replaceAll() {
    const count = this.#matches.length;
    if (!count) return;
    this.#parts.rewrite(replaced(this.#parts.text(), this.#matches, this.#other.value));
    this.#search(0);
    this.#said.textContent = say("{n} replaced", { n: count });
  }

  #show(goes) {
    const all = this.#matches.length;
    const none = this.#words.value ? say("nowhere") : "";
    this.#said.textContent = all ? say("{at} of {n}", { at: this.#at + 1, n: all }) : none;
    this.#mark(this.#matches.slice(this.#at, this.#at + MARKED));
    if (goes && all) this.#parts.paper.reveal(this.#matches[this.#at].start);
  }

  /** Marks places in the text, the first one as the current, where the browser can. */
  #mark(matches) {
    if (!CSS.highlights) return;
    const ranges = matches.map(({ start, end }) => this.#parts.paper.rangeOf(start, end));
    CSS.highlights.set("found-here", new Highlight(...ranges.slice(0, 1)));
    CSS.highlights.set("found", new Highlight(...ranges.slice(1)));
  }

  #onKey(event) {
    if (event.key === "Escape") this.close();
    else if (event.key === "Enter" && event.target === this.#words) this.#move(event.shiftKey ? -1 : 1);
    else if (event.key === "Enter" && event.target === this.#other) this.#replace();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
