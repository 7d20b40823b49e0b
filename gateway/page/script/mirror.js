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
  #mark = document.createElement("i");
  #marked = null;
  #hereAt = null;

  constructor(element) {
    this.#element = element;
    this.#mark.className = "mark-forgets";
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
    if (this.#marked !== null && !this.#mark.isConnected) this.mark(this.#marked);
  }

  /**
   * Puts a mark in the margin where a character stands; it is laid out with the words, so that
   * nobody has to measure where that is.
   * @param position null takes the mark away
   */
  mark(position) {
    const held = this.#mark.parentNode;
    this.#mark.remove();
    held?.normalize();
    this.#marked = position;
    if (position === null || position > (this.#text?.length ?? 0)) return;
    const { node, offset } = this.at(position);
    if (node.nodeType !== Node.TEXT_NODE) node.prepend(this.#mark);
    else node.splitText(Math.min(offset, node.length)).before(this.#mark);
  }

  /** @param position whose paragraph is to be told apart, or null */
  here(position) {
    const { node } = position === null ? { node: null } : this.at(position);
    const paragraph = node?.nodeType === Node.TEXT_NODE ? node.parentNode : node;
    if (paragraph === this.#hereAt) return;
    this.#hereAt?.classList.remove("is-here");
    paragraph?.classList.add("is-here");
    this.#hereAt = paragraph;
  }

  /** @returns {{node: Text, offset: number}} where a character of the text stands */
  at(position) {
    let start = 0;
    for (const { text, node } of this.#paragraphs) {
      if (position <= start + text.length) return this.#within(node, position - start);
      start += text.length + 1;
    }
    return this.#within(this.#last, position - start);
  }

  /** A place in a paragraph, which the mark may have split. */
  #within(paragraph, offset) {
    let rest = offset;
    const pieces = [...paragraph.childNodes].filter(({ nodeType }) => nodeType === Node.TEXT_NODE);
    for (const node of pieces) {
      if (rest <= node.length) return { node, offset: rest };
      rest -= node.length;
    }
    const last = pieces.at(-1);
    return last ? { node: last, offset: last.length } : { node: paragraph, offset: 0 };
  }
}
