/** Writes down what becomes of a text: every continuation is a branch of its story. */

import { Story } from "./story.js";

export class Chronicle {
  story = new Story();
  #writer;
  #context;
  /** Which branch a state of the text belongs to, so that undo finds its place in the tree. */
  #places = new WeakMap();
  #branches = new WeakMap();

  /** @param context a function that gives `{ digest, model }` */
  constructor(writer, context) {
    this.#writer = writer;
    this.#context = context;
    writer.addEventListener("offering", ({ detail }) => this.#begin(detail));
    writer.addEventListener("offered", ({ detail }) => this.#record(detail));
    writer.addEventListener("taken", ({ detail }) => this.#take(detail));
    writer.addEventListener("moved", ({ detail }) => this.#move(detail));
  }

  /** Another text, with its tree. */
  open(story) {
    this.story = story;
    this.#places = new WeakMap();
    this.#branches = new WeakMap();
    if (story.textOf(story.current) === this.#writer.manuscript.text) {
      this.#places.set(this.#writer.manuscript, story.current);
    }
  }

  /** Has what stands on the sheet be the current branch. */
  settle() {
    const { manuscript } = this.#writer;
    const id = this.story.settle(manuscript.text);
    this.#places.set(manuscript, id);
    return id;
  }

  /** A branch of the tree is on the sheet now. */
  arrive(manuscript, id) {
    this.story.take(id);
    this.#places.set(manuscript, id);
  }

  #begin({ pieces, recipe }) {
    const parent = this.#fork() ?? this.settle();
    const { text, n, seed, model: _, logprobs: __, ...settings } = recipe;
    const { digest, model } = this.#context();
    pieces.forEach((piece, index) => {
      const made = { seed, settings, n, index, digest, model };
      this.#branches.set(piece, { story: this.story, parent, keep: text.length, made, id: null });
    });
  }

  /** The branch to fork where its text was cut back and nothing else was written; else null. */
  #fork() {
    const { manuscript } = this.#writer;
    const { current } = this.story;
    const whole = this.story.textOf(current);
    if (manuscript.text.length >= whole.length || !whole.startsWith(manuscript.text)) return null;
    this.#places.set(manuscript, current);
    return current;
  }

  /** A piece that has ended, or was cut short, stays as a branch. */
  #record({ pieces }) {
    for (const piece of pieces) this.#keep(piece);
  }

  #keep(piece) {
    const branch = this.#branches.get(piece);
    if (!branch || branch.story !== this.story || !piece.text) return null;
    if (branch.id !== null) return branch.id;
    const { parent, keep, made } = branch;
    const twin = this.story
      .children(parent)
      .find((child) => child.keep === keep && child.tail === 0 && child.added === piece.text);
    if (twin) branch.id = twin.id;
    else {
      const tokens = compact(piece.tokens);
      const values = { keep, added: piece.text, tail: 0, by: "model", state: "dropped" };
      branch.id = this.story.add(parent, { ...values, made, tokens }).id;
    }
    return branch.id;
  }

  #take({ piece, manuscript }) {
    const id = this.#keep(piece);
    if (id === null) return;
    this.story.take(id);
    this.#places.set(manuscript, id);
  }

  #move({ manuscript }) {
    const place = this.#places.get(manuscript);
    if (place !== undefined && (place === null || this.story.get(place))) {
      this.story.current = place;
    }
  }
}

/** @returns {Array} tokens as `[text, logprob, [[text, logprob], …]]`, which is half as long */
function compact(tokens) {
  const round = (value) => (value === null ? null : Math.round(value * 1000) / 1000);
  return tokens.map(({ text, logprob, ranking }) => [
    text,
    round(logprob),
    ranking.map((other) => [other.text, round(other.logprob)]),
  ]);
}

/** @returns {object[]} the tokens of a branch as the manuscript has them */
export function tokensOf(branch) {
  let start = branch.keep;
  return branch.tokens.map(([text, logprob, ranking]) => {
    const end = start + text.length;
    const token = { start, end, logprob, ranking: ranking.map(([t, l]) => ({ text: t, logprob: l })) };
    start = end;
    return token;
  });
}
