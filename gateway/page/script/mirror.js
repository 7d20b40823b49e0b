/**
 * The text again, behind the paper, a paragraph an element: of a long text the browser then lays
 * out again what changed alone, however long the rest is.
 */
export class Mirror {
  #element;
  #last;
  #text = null;
  /** `{ text, node }` for each paragraph but the last, which the ghost follows. */
  #paragraphs = [];

  constructor(element) {
    this.#element = element;
    this.#last = document.createElement("span");
    element.append(this.#last);
  }

  show(text) {
    if (text === this.#text) return;
    this.#text = text;
    const wanted = text.split("\n");
    const last = wanted.pop();
    const shown = this.#paragraphs;
    const shorter = Math.min(shown.length, wanted.length);
    let start = 0;
    while (start < shorter && shown[start].text === wanted[start]) start += 1;
    let end = 0;
    while (end < shorter - start && shown.at(-1 - end).text === wanted.at(-1 - end)) end += 1;
    const made = wanted.slice(start, wanted.length - end).map((words) => {
      const node = document.createElement("span");
      node.className = "paragraph";
      // A line break at the very end needs something after it to make a line.
      node.textContent = words || "\u200b";
      return { text: words, node };
    });
    const before = shown[shown.length - end]?.node ?? this.#last;
    const gone = shown.splice(start, shown.length - end - start, ...made);
    for (const { node } of gone) node.remove();
    before.before(...made.map(({ node }) => node));
    if (this.#last.textContent !== last) this.#last.textContent = last;
  }

  /** @returns {{node: Text, offset: number}} where a character of the text stands */
  at(position) {
    let start = 0;
    for (const { text, node } of this.#paragraphs) {
      if (position <= start + text.length) return { node: node.firstChild, offset: position - start };
      start += text.length + 1;
    }
    return { node: this.#last.firstChild ?? this.#last, offset: position - start };
  }
}
