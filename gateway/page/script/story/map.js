/** The tree of a story as a list to walk in: with keys, a pointer or a finger. */

import { iconButton, make, needStyle } from "../dom.js";
import { say } from "../language.js";
import { Drawer } from "../shelf/drawer.js";
import { rowsOf } from "./rows.js";

const SHOWN = 120;
const DEEPEST = 6;

export class StoryMap {
  #parts;
  #drawer;
  #tree = make("ul.map-tree", { role: "tree", "aria-label": say("Branches") });
  #bar = make("div.map-acts", { role: "group", "aria-label": say("This branch") });
  #said = make("div.shelf-undo", { role: "status" });
  #compared = make("div.map-compared", { "aria-live": "polite" });
  #rows = [];
  #at = null;
  #other = null;

  /** @param parts `chronicle`, `walk(id)`, `changed()`, `share()`: a link to the whole of it */
  constructor(parts, opener) {
    this.#parts = parts;
    this.#tree.addEventListener("keydown", (event) => this.#onKey(event));
    this.#tree.addEventListener("click", ({ target }) => {
      const row = target.closest("[data-branch]");
      if (!row) return;
      const isPair = this.#other !== null && Number(row.dataset.branch) !== this.#other;
      this.#select(Number(row.dataset.branch));
      this.#item(this.#at).focus();
      if (isPair) this.#compare();
    });
    this.#tree.addEventListener("dblclick", () => this.#walk());
    const foot = make(
      "div.map-foot",
      {},
      make("button", { click: () => this.#pruneDropped() }, say("Prune what was dropped")),
      make("button", { click: () => parts.share() }, say("Copy a link to the tree")),
    );
    const help = make("p.map-help", {}, say("Arrows move, Enter goes there, P pins, C compares, Delete prunes."));
    this.#drawer = new Drawer("map", say("The tree of this text"), opener, [
      this.#bar,
      this.#said,
      this.#compared,
      this.#tree,
      help,
      foot,
    ]);
  }

  async open() {
    await needStyle("drawer");
    await needStyle("map");
    this.#parts.chronicle.settle();
    this.#other = null;
    this.#said.replaceChildren();
    this.#at = this.#story.current;
    this.draw();
    this.#drawer.open();
    this.#item(this.#at)?.focus();
    this.#item(this.#at)?.scrollIntoView({ block: "center" });
  }

  close() {
    if (this.#drawer.isOpen) this.#drawer.close();
  }

  get #story() {
    return this.#parts.chronicle.story;
  }

  draw() {
    const story = this.#story;
    this.#rows = rowsOf(story);
    const path = new Set(story.path(story.current).map(({ id }) => id));
    if (!story.get(this.#at)) this.#at = story.current;
    this.#tree.replaceChildren(...this.#rows.map((row) => this.#draw(row, path)));
    if (!this.#rows.length) {
      this.#tree.append(make("li.shelf-none", { role: "none" }, say("Nothing is written yet.")));
    }
    this.#select(this.#at);
  }

  #draw({ branch, depth }, path) {
    const words = branch.added.trim() || say("(taken away)");
    const about = [
      branch.by === "model" ? say("GPT-2") : say("you"),
      branch.id === this.#story.current && say("you are here"),
      branch.pinned && say("pinned"),
      branch.state === "dropped" && say("not taken"),
    ].filter(Boolean);
    const item = make(
      `li.map-row.is-${branch.by}`,
      {
        role: "treeitem",
        tabindex: -1,
        dataset: { branch: branch.id },
        "aria-level": depth + 1,
        "aria-selected": "false",
        "aria-current": branch.id === this.#story.current && "true",
      },
      make("span.map-words", { dir: "auto" }, words.slice(0, SHOWN)),
      make("span.map-about", {}, about.join(" · ")),
    );
    item.style.setProperty("--depth", Math.min(depth, DEEPEST));
    item.classList.toggle("is-path", path.has(branch.id));
    return item;
  }

  #item(id) {
    return this.#tree.querySelector(`[data-branch="${id}"]`);
  }

  #select(id) {
    for (const item of this.#tree.querySelectorAll('[tabindex="0"]')) {
      item.tabIndex = -1;
      item.setAttribute("aria-selected", "false");
    }
    this.#at = id;
    const item = this.#item(id);
    if (item) {
      item.tabIndex = 0;
      item.setAttribute("aria-selected", "true");
    }
    this.#drawBar();
  }

  #drawBar() {
    const branch = this.#story.get(this.#at);
    const can = branch !== null;
    const button = (what, label, act, enabled = can) =>
      make("button", { dataset: { what }, click: act, disabled: !enabled }, label);
    this.#bar.replaceChildren(
      button("walk", say("Go there"), () => this.#walk()),
      button("pin", branch?.pinned ? say("Unpin") : say("Pin"), () => this.#pin()),
      button("compare", this.#other === null ? say("Compare") : say("Compare with this"), () => this.#compare()),
      button("prune", say("Prune"), () => this.#prune(), can && this.#story.canPrune(this.#at)),
    );
  }

  #onKey(event) {
    const at = this.#rows.findIndex(({ branch }) => branch.id === this.#at);
    const parent = this.#rows.findIndex(({ branch }) => branch.id === this.#story.get(this.#at)?.parent);
    const child = this.#rows.findIndex(({ branch }) => branch.parent === this.#at);
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      ArrowLeft: parent,
      ArrowRight: child,
      Home: 0,
      End: this.#rows.length - 1,
    }[event.key];
    const act = {
      Enter: () => this.#walk(),
      " ": () => this.#walk(),
      p: () => this.#pin(),
      c: () => this.#compare(),
      Delete: () => this.#prune(),
    }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.#rows[to]) {
      this.#select(this.#rows[to].branch.id);
      this.#item(this.#at).focus();
    } else if (act && this.#story.get(this.#at)) act();
    else if (to === undefined) return;
    event.preventDefault();
  }

  #walk() {
    this.#parts.walk(this.#at);
    this.#drawer.close();
  }

  #pin() {
    const { pinned } = this.#story.get(this.#at);
    this.#story.change(this.#at, { pinned: !pinned });
    this.#changed();
  }

  #prune() {
    if (!this.#story.canPrune(this.#at)) {
      this.#tell(say("Branches that make up the text, and pinned ones, stay."));
      return;
    }
    const { parent } = this.#story.get(this.#at);
    const gone = this.#story.prune(this.#at);
    this.#at = parent ?? this.#story.current;
    this.#sayPruned(gone);
  }

  #pruneDropped() {
    const gone = [];
    for (const { id, state } of this.#story.all) {
      const branch = this.#story.get(id);
      if (branch && state === "dropped" && this.#story.canPrune(id)) gone.push(...this.#story.prune(id));
    }
    this.#sayPruned(gone);
  }

  #sayPruned(gone) {
    this.#changed();
    if (!gone.length) return this.#tell(say("Nothing was dropped that is not pinned."));
    const undo = make(
      "button",
      {
        click: () => {
          this.#story.restore(gone);
          this.#said.replaceChildren();
          this.#changed();
        },
      },
      say("Undo"),
    );
    this.#tell(say("Pruned: {n} branches.", { n: gone.length }), undo);
  }

  #compare() {
    if (this.#other === null || !this.#story.get(this.#other)) {
      this.#other = this.#at;
      this.#tell(say("Now choose the other branch."));
      this.#drawBar();
      return;
    }
    const pair = [this.#other, this.#at].map((id) => this.#story.textOf(id));
    this.#other = null;
    this.#said.replaceChildren();
    this.#compared.replaceChildren(...differences(pair));
    const close = () => {
      this.#compared.replaceChildren();
      this.#item(this.#at)?.focus();
    };
    this.#compared.append(iconButton("close", say("Close the comparison"), close));
    this.#compared.scrollIntoView({ block: "nearest" });
    this.#drawBar();
  }

  #tell(words, ...buttons) {
    this.#said.replaceChildren(make("p", {}, words), ...buttons);
  }

  #changed() {
    this.#parts.changed();
    const hadFocus = this.#tree.contains(document.activeElement);
    this.draw();
    if (hadFocus) this.#item(this.#at)?.focus();
  }
}

const CONTEXT = 80;

/** @returns {HTMLElement[]} what two texts have in common at last, and how each goes on */
function differences([one, two]) {
  let same = 0;
  while (same < one.length && one[same] === two[same]) same += 1;
  // To the beginning of the word in which they part.
  same = one.slice(0, same).search(/\S*$/);
  const before = one.slice(Math.max(0, same - CONTEXT), same);
  const ways = [one, two].map((text) =>
    make("p", { dir: "auto" }, text.slice(same) || say("(ends here)")),
  );
  return [make("p.map-common", { dir: "auto" }, `… ${before}`), make("div.map-ways", {}, ...ways)];
}
