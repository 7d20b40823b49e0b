/** The writing surface: a textarea with a mirror of its text behind it, in which the ghost follows.
 * A textarea, because caret, input methods, dictation and screen readers work as people know them.
 */

import { Mirror } from "./mirror.js";
import { freeHeight } from "./scroll.js";

export class Paper {
  #area;
  #mirror;
  #ghost;
  #frame;

  /** @param acts `type, continue, accept, acceptWord, drop, stop, undo, redo, what-if, find` ... */
  constructor(frame, writer, acts) {
    this.#frame = frame;
    this.#area = frame.querySelector("textarea");
    this.#mirror = new Mirror(frame.querySelector("[data-mirror]"));
    this.#ghost = frame.querySelector("[data-ghost]");
    this.#area.addEventListener("input", () => acts.type(this.#area.value));
    this.#area.addEventListener("beforeinput", (event) => this.#onBeforeInput(event, acts));
    this.#area.addEventListener("keydown", (event) => this.#onKey(event, writer, acts));
    document.addEventListener("selectionchange", () => acts.moved());
    this.#area.addEventListener("blur", () => this.#tabLeaves(false));
  }

  render({ manuscript, ghost, writing }) {
    this.#place(manuscript.text);
    const shown = ghost ? manuscript.prompt : manuscript.text;
    this.#mirror.show(shown);
    const offered = ghost?.text ? ghost.text : "\u200b";
    if (this.#ghost.textContent !== offered) this.#ghost.textContent = offered;
    this.#frame.classList.toggle("is-writing", writing && ghost !== null);
  }

  /** @param place where the caret goes: the end, unless said */
  focus(place = this.#area.value.length) {
    this.#area.focus({ preventScroll: true });
    this.place = place;
  }

  /** Where the caret is, and where it is to be. */
  get place() {
    return this.#area.selectionStart;
  }

  get hasFocus() {
    return document.activeElement === this.#area;
  }

  /** @returns {[number, number]} where what is selected begins and ends */
  get selection() {
    return [this.#area.selectionStart, this.#area.selectionEnd];
  }

  get selected() {
    return this.#area.value.slice(...this.selection);
  }

  /** @param match `{start, end}`, or nothing: then the caret stays */
  select(match) {
    this.#area.focus({ preventScroll: true });
    if (match) this.#area.setSelectionRange(match.start, match.end);
  }

  /** @returns {Range} of the mirror, which lies where the text lies */
  rangeOf(start, end) {
    const range = document.createRange();
    const [from, to] = [this.#mirror.at(start), this.#mirror.at(end)];
    range.setStart(from.node, from.offset);
    range.setEnd(to.node, to.offset);
    return range;
  }

  /** Scrolls a place of the text into the middle of the window, where it is out of sight. */
  reveal(position) {
    const { top, bottom } = this.#boxAt(position);
    if (top < 0 || bottom > freeHeight()) scrollBy({ top: top - freeHeight() / 2 });
  }

  /** Scrolls so that the caret's line is at the middle of what is free of the window. */
  centre() {
    const { top, bottom } = this.#boxAt(this.place);
    scrollBy({ top: (top + bottom) / 2 - freeHeight() / 2 });
  }

  /** @param position whose paragraph alone is in the foreground, or null: all are */
  set here(position) {
    this.#mirror.here(position);
  }

  #boxAt(position) {
    const boxes = this.rangeOf(position, position).getClientRects();
    return boxes.length ? boxes[boxes.length - 1] : this.#ghost.getBoundingClientRect();
  }

  set place(position) {
    this.#caretTo(Math.min(position, this.#area.value.length));
  }

  /** Where the word begins at which the caret stands; null at the end and the start of the text. */
  get wordStart() {
    const { selectionStart, value } = this.#area;
    if (value.slice(selectionStart).trim() === "") return null;
    // The space before a word is the word's own for the model.
    const start = value.slice(0, selectionStart).search(/\s?\S*$/);
    return start > 0 ? start : null;
  }

  /** @param position where the model begins to read, or null when it reads all of it */
  set forgottenBefore(position) {
    this.#mirror.mark(position);
  }

  /** The element that ends where the text ends. */
  get end() {
    return this.#ghost;
  }

  #place(text) {
    const old = this.#area.value;
    if (old === text) return;
    this.#area.value = text;
    // The caret goes to where the text changed: its end, as a rule.
    let same = 0;
    while (same < text.length && text.at(-1 - same) === old.at(-1 - same)) same += 1;
    this.#caretTo(text.length - same);
  }

  #caretTo(position) {
    this.#area.setSelectionRange(position, position);
  }

  get #caretIsAtEnd() {
    const { selectionStart, selectionEnd, value } = this.#area;
    return selectionStart === value.length && selectionEnd === value.length;
  }

  #onBeforeInput(event, { undo, redo }) {
    // The browser's own undo knows nothing of continuations: ours takes its place.
    if (event.inputType === "historyUndo") undo();
    else if (event.inputType === "historyRedo") redo();
    else return;
    event.preventDefault();
  }

  #onKey(event, writer, acts) {
    if (event.isComposing) return;
    const act = this.#actOf(event, writer, acts);
    if (!act) {
      if (event.key.length === 1) this.#tabLeaves(false);
      return;
    }
    event.preventDefault();
    act();
  }

  #actOf(event, writer, acts) {
    const { key, shiftKey, altKey } = event;
    const command = event.ctrlKey || event.metaKey;
    const offered = writer.ghost?.text && !writer.endless;
    if (key === "Tab" && !shiftKey && !altKey && !command) {
      // After Escape, and on an empty page, Tab moves on as everywhere: no trap for the keyboard.
      if (this.#frame.dataset.tabLeaves === "true" || !this.#area.value.trim()) return null;
      if (writer.endless || (writer.writing && !offered)) return () => {};
      return offered ? acts.accept : acts.continue;
    }
    if (key === "Escape") return this.#escape(writer, acts);
    if (key === "Enter" && altKey && !command && this.wordStart !== null) return acts["what-if"];
    if (key === "Enter" && command) return offered ? acts.accept : acts.continue;
    if (key === "ArrowRight" && !shiftKey && offered && this.#caretIsAtEnd) {
      return command || altKey ? acts.acceptWord : acts.accept;
    }
    if (!command || altKey) return null;
    if (key.toLowerCase() === "h") return acts.find;
    if (key.toLowerCase() === "z") return shiftKey ? acts.redo : acts.undo;
    return key.toLowerCase() === "y" ? acts.redo : null;
  }

  #escape({ ghost, choices, writing }, { drop, stop }) {
    if (writing) return stop;
    if (ghost || choices) return drop;
    return () => this.#tabLeaves(true);
  }

  #tabLeaves(leaves) {
    this.#frame.dataset.tabLeaves = leaves;
  }
}
