/** The text survives a reload, in this tab only. */

const PLACE = "draft";
const PAUSE_MS = 400;

export class Draft {
  #text = sessionStorage.getItem(PLACE) ?? "";
  #timer = null;

  constructor() {
    addEventListener("pagehide", () => this.#store());
  }

  get text() {
    return this.#text;
  }

  keep(text) {
    if (text === this.#text) return;
    this.#text = text;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#store(), PAUSE_MS);
  }

  #store() {
    sessionStorage.setItem(PLACE, this.#text);
  }
}
