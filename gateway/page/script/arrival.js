/** What came with the address, behind `#`: a text or a whole tree, the person's own now. */

import { say } from "./language.js";
import { readLink, readTreeLink } from "./link.js";
import { Manuscript } from "./manuscript.js";

export class Arrival {
  #parts;

  /** @param parts `writer, settings, guidance, keeping`, `hint(words)` */
  constructor(parts) {
    this.#parts = parts;
    addEventListener("hashchange", async () => {
      this.followTree();
      if (!readLink(location.hash)) return;
      await parts.keeping.keeper.create();
      this.followLink();
    });
  }

  /** @returns {boolean} whether a link's text is on the sheet now */
  followLink() {
    const link = readLink(location.hash);
    if (!link) return false;
    const { writer, settings, guidance, hint } = this.#parts;
    settings.apply(link);
    guidance.restore(link);
    writer.load(new Manuscript(link.text));
    forget();
    hint(say("This text came with a link. Let it continue to see how it went on."));
    return true;
  }

  /** Opens a tree that came with a link, once it is known which model answers here. */
  async followTree(ready) {
    const tree = readTreeLink(location.hash);
    if (!tree) return;
    forget();
    await ready;
    await this.#parts.keeping.openLink(tree);
  }
}

/** A reload must not bring the link's text back. */
function forget() {
  history.replaceState(null, "", location.pathname + location.search);
}
