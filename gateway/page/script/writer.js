/** What a person does with the model: continue, accept, drop, choose, keep going, undo.
 * Holds the state that the views show; knows neither the screen nor HTTP. Beside `change` it tells
 * of pieces that are asked for (`offering`), that ended (`offered`) and that became part of the
 * text (`taken`), and of steps back and forth (`moved`).
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

  /** Another text in this one's place; one step takes it back. */
  open(text) {
    this.#forget();
    this.#keep(new Manuscript(text));
  }

  /** The text with words replaced in it, as a step of its own. */
  rewrite(text) {
    this.#forget();
    this.#keep(this.manuscript.edit(text));
  }

  /** Another text altogether, with steps of its own. */
  load(manuscript) {
    this.#forget();
    this.#history = new History(manuscript);
    this.#last = null;
    this.speed = null;
    this.#show(manuscript);
  }

  /** The same text at another place of its tree; one step goes back. */
  walk(manuscript) {
    this.#forget();
    this.#keep(manuscript);
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
        const piece = this.ghost;
        const { finish } = piece;
        this.#keep(this.manuscript.append(piece), step);
        this.#tell("taken", { piece, manuscript: this.manuscript });
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
    this.#adopt(this.ghost, kind);
  }

  acceptWord() {
    if (!this.ghost?.text) return;
    this.#abort();
    this.#tell("offered", { pieces: [this.ghost] });
    const [word, rest] = this.ghost.splitWord();
    this.#keep(this.manuscript.append(word), "accepting words");
    this.ghost = rest.text ? rest : null;
    this.#changed();
  }

  choose(index) {
    const piece = this.choices?.[index];
    if (!piece?.text) return;
    this.#adopt(piece);
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

  /** Goes on differently from a place in the text; what stood behind it is one step back. */
  async whatIf(position) {
    this.#forget();
    this.#keep(this.manuscript.cut(position));
    await this.#offer();
  }

  undo() {
    if (this.ghost || this.choices) this.drop();
    else this.#move(this.#history.undo());
  }

  redo() {
    this.#forget();
    this.#move(this.#history.redo());
  }

  #adopt(piece, kind = null) {
    this.#forget();
    this.#keep(this.manuscript.append(piece), kind);
    this.#tell("taken", { piece, manuscript: this.manuscript });
  }

  #move(manuscript) {
    this.#show(manuscript);
    this.#tell("moved", { manuscript });
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
    this.#tell("offering", { pieces, recipe: this.#last });
    this.#changed();
    try {
      const request = { ...options, prompt, n: pieces.length };
      const parts = this.#service.complete(request, run.signal, (language) =>
        this.#tell("language", language),
      );
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
      this.#tell("offered", { pieces });
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

  #tell(event, detail) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
