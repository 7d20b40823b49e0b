/** What makes writing here comfortable, put together: looks, counts, find, voices, lessons. */

import { keepPage } from "./install.js";
import { Look } from "./look.js";
import { isTaught } from "./taught.js";
import { WordCount } from "./word-count.js";

const $ = (selector) => document.querySelector(selector);

export class Comfort {
  #parts;
  #look = new Look($("#look"));
  #count;
  #find = null;
  #aloud = null;
  #shownAt = null;

  /** @param parts `writer, paper, showPaper()`: the text, not how sure the model was */
  constructor(parts) {
    this.#parts = parts;
    const { writer, paper } = parts;
    this.#count = new WordCount($("#count"), () => ({
      text: writer.manuscript.text,
      selected: paper.selected,
    }));
    $('[data-act="aloud"]').hidden = !("speechSynthesis" in window);
    this.#look.addEventListener("change", () => this.#follow(true));
    document.addEventListener("selectionchange", () => this.moved());
    addEventListener("load", () => setTimeout(keepPage));
  }

  get acts() {
    const { writer, paper } = this.#parts;
    const toggle = (name) => () => this.#look.set(name, !this.#look[name]);
    return {
      find: () => this.openFind(),
      aloud: () => this.#readAloud(writer.manuscript.text, ...paper.selection),
      typewriter: toggle("typewriter"),
      focus: toggle("focus"),
    };
  }

  /** Teaches who has never been here, unless there is something on the sheet already. */
  async teach(hasKeys) {
    if (isTaught() || this.#parts.writer.manuscript.text !== "") return;
    const { Lesson } = await import("./lesson.js");
    new Lesson(this.#parts.writer, $("#notice"), hasKeys);
  }

  async openFind() {
    const { Find } = await import("./find.js");
    const { writer, paper, showPaper } = this.#parts;
    await showPaper();
    this.#find ??= new Find(
      {
        paper,
        text: () => writer.manuscript.text,
        rewrite: (text) => writer.rewrite(text),
        onClose: (match) => paper.select(match),
      },
      $("#tools"),
    );
    await this.#find.open();
  }

  async #readAloud(text, start, end) {
    const { Aloud } = await import("./aloud.js");
    this.#aloud ??= new Aloud(
      (isReading) => $('[data-act="aloud"]').setAttribute("aria-pressed", String(isReading)),
      () => ($("#language").hidden ? "en" : $("#language").dataset.code),
    );
    this.#aloud.toggle(text, start, end);
  }

  /** The caret, or the selection, is elsewhere. */
  moved() {
    this.#count.changed();
    this.#follow(false);
  }

  /** The text has changed. */
  render() {
    this.#count.changed();
    this.#find?.changed();
    this.#follow(false);
  }

  /** Keeps the caret's line at one height, and all but its paragraph in the background. */
  #follow(always) {
    const { paper, writer } = this.#parts;
    const at = `${paper.place} ${writer.manuscript.text.length}`;
    if (at === this.#shownAt && !always) return;
    this.#shownAt = at;
    paper.here = this.#look.focus ? paper.place : null;
    if (this.#look.typewriter && paper.hasFocus) paper.centre();
  }
}
