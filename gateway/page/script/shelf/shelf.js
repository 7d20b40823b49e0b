/** All texts of this browser: find, open, begin, name, double, throw away and bring back. */

import { icon, iconButton, make, needStyle } from "../dom.js";
import { say } from "../language.js";
import { titleOf } from "../store/keeper.js";
import { newCard } from "../store/texts.js";
import { Drawer } from "./drawer.js";
import { saveFile } from "./files.js";
import { cardOf } from "./rows.js";
import { storageWords } from "./storage.js";
import { readFile, writeFile } from "./transfer.js";

const TYPING_PAUSE_MS = 150;

export class Shelf {
  #keeper;
  #drawer;
  #list = make("ul.shelf-list", { "aria-label": say("Texts") });
  #trash = make("ul.shelf-list", { "aria-label": say("Trash") });
  #trashBox;
  #storage = make("div.shelf-storage");
  #undo = make("div.shelf-undo", { role: "status" });
  #search;
  #drawing = 0;

  /** @param keeper knows the texts; `onOpen` is called when another one is on the sheet */
  constructor(keeper, opener, onOpen) {
    this.#keeper = keeper;
    this.onOpen = onOpen;
    const file = make("input", {
      type: "file",
      multiple: true,
      hidden: true,
      accept: ".txt,.md,.markdown,.json,text/plain,text/markdown,application/json",
      change: () => this.import([...file.files]).finally(() => (file.value = "")),
    });
    let typing = null;
    this.#search = make("input", {
      type: "search",
      placeholder: say("Search in all texts"),
      "aria-label": say("Search in all texts"),
      input: () => {
        clearTimeout(typing);
        typing = setTimeout(() => this.draw(), TYPING_PAUSE_MS);
      },
    });
    this.#trashBox = make("details.shelf-trash", {}, make("summary"), this.#trash);
    const begin = make("button.wide", { click: () => this.#create() }, icon("plus"), say("New text"));
    const take = make("button.wide", { click: () => file.click() }, icon("import"), say("Import"));
    this.#drawer = new Drawer("shelf", say("Your texts"), opener, [
      make("div.shelf-begin", {}, begin, take, file),
      this.#search,
      this.#list,
      this.#undo,
      this.#trashBox,
      this.#storage,
    ]);
    for (const event of ["kept", "listed", "adopted"]) {
      keeper.addEventListener(event, () => this.#drawer.isOpen && this.draw());
    }
  }

  async open() {
    await needStyle("drawer");
    await this.draw();
    this.#drawer.open();
  }

  /**
   * Texts of files, each a text of its own; the last one is shown.
   * @returns {Promise<string[]>} what became of them
   */
  async import(files) {
    const said = [];
    const taken = [];
    for (const file of files) {
      try {
        const { values, text, branches } = await readFile(file);
        await this.#keeper.create(values, text, branches);
        await this.#keeper.flush();
        taken.push(titleOf(this.#keeper.card) || file.name);
      } catch (error) {
        if (!error.words) throw error;
        said.push(error.words);
      }
    }
    if (taken.length) said.unshift(say("Imported: {names}", { names: taken.join(", ") }));
    this.#undo.replaceChildren(...said.map((words) => make("p", {}, words)));
    if (taken.length) this.onOpen();
    if (this.#drawer.isOpen) await this.draw();
    return said;
  }

  async draw() {
    const turn = (this.#drawing += 1);
    const { texts } = this.#keeper;
    if (!texts) return this.#storage.replaceChildren(...(await storageWords(this.#keeper)));
    const words = this.#search.value.trim();
    const [cards, found] = await Promise.all([texts.cards(), words ? texts.search(words) : null]);
    const parts = await storageWords(this.#keeper);
    if (turn !== this.#drawing) return;
    const kept = cards.filter((card) => card.trashed === null && (!found || found.has(card.id)));
    const thrown = cards.filter((card) => card.trashed !== null);
    this.#fill(this.#list, kept, this.#acts);
    this.#fill(this.#trash, thrown, this.#trashActs);
    if (!kept.length) {
      const none = words ? say("No text has these words.") : say("Nothing is written yet.");
      this.#list.append(make("li.shelf-none", {}, none));
    }
    this.#trashBox.hidden = thrown.length === 0;
    this.#trashBox.querySelector("summary").textContent = say("Trash ({n})", { n: thrown.length });
    if (thrown.length) {
      const empty = make("button.wide", { click: () => this.#empty(thrown) }, say("Empty the trash"));
      this.#trash.append(make("li", {}, empty));
    }
    this.#storage.replaceChildren(...parts);
  }

  /** Draws a list anew, and leaves the focus and an open row where they are. */
  #fill(list, cards, acts) {
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    const row = focused?.closest("[data-text]")?.dataset.text;
    const what = focused?.dataset.what;
    const open = list.querySelector("[data-text].is-open")?.dataset.text;
    const here = this.#keeper.card.id;
    list.replaceChildren(
      ...cards.map((card) => cardOf(card, acts, { here: card.id === here, open: card.id === open })),
    );
    if (row) list.querySelector(`[data-text="${row}"] [data-what="${what}"]`)?.focus();
  }

  get #acts() {
    return {
      open: (card) => this.#open(card.id),
      more: [
        { what: "rename", label: say("Rename"), act: (card, item) => this.#rename(card, item) },
        { what: "double", label: say("Duplicate"), act: (card) => this.#double(card) },
        { what: "txt", label: say("Export as text"), act: (card) => this.#export(card, "txt") },
        { what: "md", label: say("Export as Markdown"), act: (card) => this.#export(card, "md") },
        { what: "json", label: say("Export with its tree"), act: (card) => this.#export(card, "json") },
        { what: "trash", label: say("Move to the trash"), act: (card) => this.#throw(card) },
      ],
    };
  }

  get #trashActs() {
    return {
      open: (card) => this.#restore(card),
      more: [
        { what: "restore", label: say("Bring back"), act: (card) => this.#restore(card) },
        { what: "remove", label: say("Delete for good"), act: (card) => this.#empty([card]) },
      ],
    };
  }

  async #open(id) {
    await this.#keeper.open(id);
    this.#drawer.close();
    this.onOpen();
  }

  async #create() {
    await this.#keeper.create();
    this.#drawer.close();
    this.onOpen();
  }

  #rename(card, item) {
    const field = make("input", { value: card.title, "aria-label": say("Title"), maxlength: 200 });
    const form = make("form.shelf-rename", {}, field, make("button", { type: "submit" }, say("Save")));
    const done = async (keeps) => {
      if (keeps) await this.#keeper.change(card.id, { title: field.value.trim() });
      await this.draw();
      this.#list.querySelector(`[data-text="${card.id}"] [data-what="more"]`)?.focus();
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      done(true);
    });
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      done(false);
    });
    item.querySelector(".shelf-actions").replaceChildren(form);
    field.select();
  }

  async #double(card) {
    await this.#keeper.flush();
    const { texts } = this.#keeper;
    const { card: from, text, branches } = await texts.read(card.id);
    const { title, beginning, words, place, settings, current } = from;
    const name = title && say("{title} (copy)", { title });
    const values = { title: name, beginning, words, place, settings, current };
    await texts.save(newCard(values), text, branches);
    await this.draw();
  }

  async #throw(card) {
    await this.#keeper.change(card.id, { trashed: Date.now() });
    if (card.id === this.#keeper.card.id) {
      const next = (await this.#keeper.texts.cards()).find((other) => other.trashed === null);
      if (next) await this.#keeper.open(next.id);
      else await this.#keeper.create();
      this.onOpen({ focus: false });
    }
    const undo = make("button", { click: () => this.#restore(card) }, say("Undo"));
    this.#undo.replaceChildren(make("p", {}, say("In the trash now.")), undo);
    await this.draw();
    undo.focus();
  }

  async #restore(card) {
    await this.#keeper.change(card.id, { trashed: null });
    this.#undo.replaceChildren();
    await this.draw();
    this.#list.querySelector(`[data-text="${card.id}"] [data-what="open"]`)?.focus();
  }

  /** For good, so it asks first. */
  async #empty(cards) {
    const words = say("{n} texts go for good. There is no way back.", { n: cards.length });
    const yes = make(
      "button",
      {
        click: async () => {
          await this.#keeper.texts.remove(cards.map(({ id }) => id));
          this.#undo.replaceChildren();
          await this.draw();
        },
      },
      say("Delete for good"),
    );
    const no = make("button", { click: () => this.#undo.replaceChildren() }, say("Keep"));
    this.#undo.replaceChildren(make("p", {}, words), yes, no);
    no.focus();
  }

  async #export(card, kind) {
    await this.#keeper.flush();
    saveFile(writeFile(kind, await this.#keeper.texts.read(card.id)));
  }
}
