/** Copies a link to a text with its seed and settings, and shows it. */

import { say } from "./language.js";
import { makeLink } from "./link.js";

const COPIED_MS = 2000;

export class Sharing {
  #button;
  #shown;
  #announcer;
  #reveal;

  /** @param reveal shows what `shown` is in, where a link could not be copied and has to be seen */
  constructor(button, shown, announcer, reveal) {
    this.#button = button;
    this.#shown = shown;
    this.#announcer = announcer;
    this.#reveal = reveal;
  }

  /** @returns {Promise<boolean>} whether it was copied; else it is shown, to be copied by hand */
  share(values) {
    return this.#show(makeLink(location.href, values));
  }

  /** A link to a whole tree; see `story/link.js`. */
  shareWhole(fields) {
    const link = new URL(location.href);
    link.hash = new URLSearchParams(fields).toString();
    return this.#show(link.href);
  }

  async #show(link) {
    const field = this.#shown.querySelector("input");
    field.value = link;
    this.#shown.hidden = false;
    this.#shown.scrollIntoView({ block: "nearest" });
    if (!(await copy(link))) {
      this.#reveal();
      this.#shown.scrollIntoView({ block: "nearest" });
      field.focus({ preventScroll: true });
      field.select();
      return false;
    }
    this.#announcer.say(say("Link copied."));
    this.#button.classList.add("is-copied");
    setTimeout(() => this.#button.classList.remove("is-copied"), COPIED_MS);
    return true;
  }
}

/** @returns {Promise<boolean>} false where the page may not write to the clipboard */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
