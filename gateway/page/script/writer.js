/** What a person does with the model: continue, accept, drop, choose, keep going, undo.
 * Holds the state that the views show; knows neither the screen nor HTTP.
 */

import { History } from "./history.js";
import { Manuscript } from "./manuscript.js";
import { Piece } from "./piece.js";
import { Stopwatch } from "./stopwatch.js";

export class Writer extends EventTarget {
  manuscript;
  /** The continuation that waits to be accepted, a Piece, or null. */
  ghost = null;
  /** Pieces to choose from, or null. */
  choices = null;
  /** True while tokens come in. */
  writing = false;
  /** True while it keeps going by itself. */
  endless = false;
  /** Stopwatch of the last continuation, or null. */
  speed = null;
  #endlessStep = null;
  #history;
  #service;
  #options;
  #run = null;
  #last = null;

  /**
   * @param service gives `complete(request, signal, onLanguage)`
   * @param options a function that gives the request's options, a seed among them
   */
  constructor(service, options, text = "") {
    super();
    this.#service = service;
    this.#options = options;
    this.manuscript = new Manuscript(text);
    this.#history = new History(this.manuscript);
  }

  /** Text, seed and options that give the last continuation again; null: there is none such. */
  get recipe() {
    // One of several at once cannot be had alone, and a text begun anew is another text.
    const isWhole = this.#last?.n === 1 && this.manuscript.text.startsWith(this.#last.text);
    return isWhole ? this.#last : null;
  }

  get canUndo() {
    return this.#history.canUndo || this.ghost !== null;
  }

  get canRedo() {
    return this.#history.canRedo;
  }

  /** The person typed: whatever the model offered is replaced by it. */
  type(text) {
    this.#forget();
    this.#keep(this.manuscript.edit(text), "typing");
  }

  /** Another text altogether. */
  open(text) {
    this.#forget();
    this.#keep(new Manuscript(text));
  }

  /** Streams one continuation in behind the text. */
  async continue() {
    this.#forget();
    await this.#offer();
  }

  /** Continues until `stop`, taking each piece as it is complete. */
  async keepGoing() {
    this.#forget();
    this.endless = true;
    const step = (this.#endlessStep = Symbol("one step to undo"));
    try {
      while (this.endless && (await this.#offer())) {
        const { finish } = this.ghost;
        this.#keep(this.manuscript.append(this.ghost), step);
        if (finish !== "length") break;
      }
    } finally {
      this.endless = false;
      this.#changed();
    }
  }

  /** Streams several continuations at once, to choose from. */
  async branch(count) {
    this.#forget();
    this.choices = Array.from({ length: count }, () => new Piece());
    await this.#write(this.choices);
  }

  /** @param kind what belongs to one step to undo, see `History.push` */
  accept(kind = null) {
    if (!this.ghost?.text) return;
    const piece = this.ghost;
    this.#forget();
    this.#keep(this.manuscript.append(piece), kind);
  }

  acceptWord() {
    if (!this.ghost?.text) return;
    this.#abort();
    const [word, rest] = this.ghost.splitWord();
    this.#keep(this.manuscript.append(word), "accepting words");
    this.ghost = rest.text ? rest : null;
    this.#changed();
  }

  choose(index) {
    const piece = this.choices?.[index];
    if (!piece?.text) return;
    this.#forget();
    this.#keep(this.manuscript.append(piece));
  }

  /** Ends what is being written; what has come while keeping going stays. */
  stop() {
    if (this.endless && this.ghost?.text) this.accept(this.#endlessStep);
    else this.drop();
  }

  drop() {
    this.#forget();
    this.#changed();
  }

  /** Goes back to one of the model's words, puts another in its place and goes on from there. */
  async retell(token, other) {
    this.#forget();
    this.#keep(this.manuscript.retell(token, other));
    await this.#offer();
  }

  undo() {
    if (this.ghost || this.choices) this.drop();
    else this.#show(this.#history.undo());
  }

  redo() {
    this.#forget();
    this.#show(this.#history.redo());
  }

  async #offer() {
    this.ghost = new Piece();
    return this.#write([this.ghost]);
  }

  /** @returns {Promise<boolean>} true when the pieces are complete, false when cut short */
  async #write(pieces) {
    const run = new AbortController();
    const { prompt } = this.manuscript;
    const options = this.#options();
    this.#run = run;
    this.writing = true;
    this.speed = new Stopwatch();
    this.#last = { ...options, text: prompt, n: pieces.length };
    this.#changed();
    try {
      const request = { ...options, prompt, n: pieces.length };
      const parts = this.#service.complete(request, run.signal, (language) => this.#tell(language));
      for await (const part of parts) {
        if (run.signal.aborted) return false;
        this.#take(part, pieces);
      }
      return !run.signal.aborted;
    } catch (error) {
      if (this.ghost?.text === "") this.ghost = null;
      if (this.choices?.every((piece) => piece.text === "")) this.choices = null;
      throw error;
    } finally {
      if (this.#run === run) {
        this.#run = null;
        this.writing = false;
        this.#changed();
      }
    }
  }

  #take(part, pieces) {
    if (part.usage) this.speed.correct(part.usage.completion_tokens);
    else {
      pieces[part.index].add(part);
      if (part.text) this.speed.lap(Math.max(1, part.tokens.length));
    }
    this.#changed();
  }

  #abort() {
    this.#run?.abort();
    this.#run = null;
    this.writing = false;
    this.endless = false;
  }

  #forget() {
    this.#abort();
    this.ghost = null;
    this.choices = null;
  }

  #keep(manuscript, kind = null) {
    this.#history.push(manuscript, kind);
    this.ghost = null;
    this.#show(manuscript);
  }

  #show(manuscript) {
    this.manuscript = manuscript;
    this.#changed();
  }

  #tell(language) {
    this.dispatchEvent(new CustomEvent("language", { detail: language }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
