/** A continuation while it is written: text, tokens, and why it ended. */
export class Piece {
  text = "";
  tokens = [];
  finish = null;

  add({ text, tokens, finish }) {
    // Without certainty for all of the text the tokens would no longer line up with it.
    const known = this.tokens.length > 0 || this.text === "";
    this.tokens = known && (tokens.length || !text) ? [...this.tokens, ...tokens] : [];
    this.text += text;
    this.finish = finish ?? this.finish;
  }

  /** The first word and what follows it, as two pieces. */
  splitWord() {
    const [word] = this.text.match(/^\s*\S*/);
    const first = new Piece();
    const rest = new Piece();
    first.text = word;
    rest.text = this.text.slice(word.length);
    rest.finish = this.finish;
    let length = 0;
    const ends = this.tokens.map((token) => (length += token.text.length));
    const cut = ends.indexOf(word.length) + 1;
    if (cut > 0) {
      first.tokens = this.tokens.slice(0, cut);
      rest.tokens = this.tokens.slice(cut);
    }
    return [first, rest];
  }
}
