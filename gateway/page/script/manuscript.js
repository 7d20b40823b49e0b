/** The text, and which of its words the model wrote. Immutable; knows nothing of the screen. */

function commonStart(a, b) {
  const limit = Math.min(a.length, b.length);
  let n = 0;
  while (n < limit && a[n] === b[n]) n += 1;
  return n;
}

export class Manuscript {
  /** @param tokens `{start, end, logprob, ranking}` in order, ends not included */
  constructor(text = "", tokens = []) {
    this.text = text;
    this.tokens = tokens;
    Object.freeze(this);
  }

  /** What the model is asked to go on from. */
  get prompt() {
    // Tokens carry the space before a word. One that waits at the end would split it from its word.
    return this.text.replace(/ $/, "");
  }

  /** A continuation of the prompt, joined on. */
  append(piece) {
    const kept = this.cut(this.prompt.length);
    let start = kept.text.length;
    const added = piece.tokens.map(({ text, logprob, ranking }) => {
      const token = { start, end: start + text.length, logprob, ranking };
      start = token.end;
      return token;
    });
    return new Manuscript(kept.text + piece.text, [...kept.tokens, ...added]);
  }

  cut(length) {
    if (length >= this.text.length) return this;
    return new Manuscript(
      this.text.slice(0, length),
      this.tokens.filter((token) => token.end <= length),
    );
  }

  /** The person changed the text: words that were touched are no longer the model's. */
  edit(text) {
    const start = commonStart(this.text, text);
    const shorter = Math.min(this.text.length, text.length) - start;
    let end = 0;
    while (
      end < shorter &&
      this.text[this.text.length - 1 - end] === text[text.length - 1 - end]
    ) {
      end += 1;
    }
    const shift = text.length - this.text.length;
    const tokens = [];
    for (const token of this.tokens) {
      if (token.end <= start) tokens.push(token);
      else if (token.start >= this.text.length - end) {
        tokens.push({ ...token, start: token.start + shift, end: token.end + shift });
      }
    }
    return new Manuscript(text, tokens);
  }

  /** One of its stretches replaced, and the model's words in what came; see `story/splice.js`. */
  splice({ keep, added, tail }, tokens = []) {
    const end = this.text.length - tail;
    const shift = keep + added.length - end;
    const before = this.tokens.filter((token) => token.end <= keep);
    const after = this.tokens
      .filter((token) => token.start >= end)
      .map((token) => ({ ...token, start: token.start + shift, end: token.end + shift }));
    const text = this.text.slice(0, keep) + added + this.text.slice(end);
    return new Manuscript(text, [...before, ...tokens, ...after]);
  }

  /** Text up to a token of the model's, that token replaced by another it had weighed. */
  retell(token, other) {
    const { ranking } = token;
    return this.cut(token.start).#with({ ...other, ranking });
  }

  #with({ text, logprob, ranking }) {
    const start = this.text.length;
    const token = { start, end: start + text.length, logprob, ranking };
    return new Manuscript(this.text + text, [...this.tokens, token]);
  }
}
