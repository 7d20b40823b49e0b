/** Keeps the text that stands on the sheet: writes it as it is written, and opens others. */

import { Story } from "../story/story.js";
import { keepDraft, readDraft } from "./draft.js";
import { Conflict, newCard } from "./texts.js";

const PAUSE_MS = 400;
/** Characters of a text that its card shows. */
export const BEGINNING = 160;
const WORD = /[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu;

/** @returns {string} what a text is called whose writer has not named it: its first words */
export function titleOf({ title, beginning }) {
  return title || beginning.trim().split("\n")[0].slice(0, 60).trim();
}

export const countWords = (text) => (text.match(WORD) ?? []).length;

/**
 * Tells of what becomes of the text: `kept`; `failed` (the browser has not taken it, detail: its
 * error), `adopted` (what another tab wrote is shown), `apart` (both tabs wrote: this one's goes on
 * as a text of its own, detail: the other's id).
 */
export class Keeper extends EventTarget {
  /** Null where the browser keeps nothing. */
  texts = null;
  card = newCard();
  #sheet;
  #timer = null;
  #saving = null;
  #isDirty = false;

  /**
   * @param sheet `read()` gives `{text, place, settings}`, `show({card, text, story})` takes a
   *   text, `story` is the story that is shown, `isBusy` is true while the model writes or offers
   */
  constructor(sheet) {
    super();
    this.#sheet = sheet;
    addEventListener("pagehide", () => this.#leave());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") this.#leave();
      else this.refresh();
    });
  }

  /** What a reload brings back, before the database has answered. */
  draft = readDraft();

  /**
   * Opens what this tab was writing, or the text that was changed last.
   * @param isTaken whether a link's text is on the sheet already, which stays there
   */
  async attach(texts, isTaken) {
    this.texts = texts;
    texts.addEventListener("saved", ({ detail }) => this.#hear(detail));
    const { draft } = this;
    if (isTaken()) {
      if (draft) await this.#salvage(draft);
      return this.changed();
    }
    if (draft?.id) return this.#resume(draft);
    const last = (await texts.cards()).find((card) => card.trashed === null);
    if (last && this.#sheet.read().text === "") await this.open(last.id);
    else this.changed();
  }

  /** Something was written: it is kept soon. */
  changed() {
    this.#isDirty = true;
    // A pause that every key put off would keep nothing of a text that is written without one.
    this.#timer ??= setTimeout(() => this.flush(), PAUSE_MS);
  }

  /** Writes what is not written yet. */
  async flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    await this.#saving;
    if (!this.#isDirty) return;
    this.#saving = this.#save();
    await this.#saving;
  }

  /** @returns {Promise<boolean>} false when there is no such text any more */
  async open(id) {
    await this.flush();
    const found = await this.texts.read(id);
    if (!found) return false;
    this.#show(found);
    return true;
  }

  /** Begins a text. What stood on the sheet is kept. */
  async create(values = {}, text = "", branches = []) {
    await this.flush();
    this.#show({ card: newCard(values), text, branches });
    this.#sheet.story.touch();
    if (text) this.changed();
  }

  /** Changes a card, also of a text that is not on the sheet. */
  async change(id, values) {
    await this.flush();
    const saved = await this.texts.change(id, values);
    if (saved && id === this.card.id) this.card = saved;
    this.#tell("kept");
    return saved;
  }

  async #resume(draft) {
    const found = await this.texts.read(draft.id);
    // Not the draft's own text: its writer may have written on meanwhile.
    const { text } = this.#sheet.read();
    if (!found) return this.changed();
    const isNewer = text !== found.text;
    const isOwn = draft.revision === found.card.revision;
    if (!isNewer || isOwn) {
      const settings = (isOwn && draft.settings) || found.card.settings;
      const isSet = JSON.stringify(settings) === JSON.stringify(found.card.settings);
      this.#show({ ...found, card: { ...found.card, settings }, text });
      if (isNewer || !isSet) this.changed();
      return;
    }
    // The draft is of before another tab's words, or of a page that did not come to say that its
    // own were kept. Only the first is worth a text of its own.
    if (found.card.writer === draft.writer || !text) return this.#show(found);
    this.#show({ ...found, text });
    await this.#part();
  }

  /** Keeps what this tab wrote last, where it is about to show something else. */
  async #salvage({ id, revision, text }) {
    const found = await this.texts.read(id);
    if (found?.card.revision !== revision || found.text === text) return;
    const { card } = found;
    const beginning = text.slice(0, BEGINNING);
    await this.texts.save({ ...card, beginning, words: countWords(text) }, text);
  }

  #show({ card, text, branches }) {
    this.card = card;
    this.#isDirty = false;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#sheet.show({ card, text, story: new Story(branches, card.current) });
    this.#isDirty = false;
    keepDraft(this.#asDraft());
    this.#tell("kept");
  }

  async #save() {
    const { text, place, settings } = this.#sheet.read();
    const { story } = this.#sheet;
    // A sheet on which nothing was ever written is no text.
    if (!this.texts || (text === "" && this.card.revision === 0)) {
      this.#isDirty = false;
      keepDraft(this.#asDraft());
      return;
    }
    const changes = story.takeChanges();
    const { card } = this;
    this.#isDirty = false;
    try {
      const saved = await this.texts.save(
        {
          ...card,
          place,
          settings,
          writer: TAB,
          current: story.current,
          changed: Date.now(),
          beginning: text.slice(0, BEGINNING),
          words: countWords(text),
        },
        text,
        changes.changed,
        changes.pruned,
      );
      if (this.card.id === saved.id) this.card = saved;
      keepDraft(this.#asDraft());
      this.#tell("kept");
    } catch (error) {
      story.giveBack(changes);
      this.#isDirty = true;
      if (error instanceof Conflict) await this.#part(error.isGone);
      else this.#tell("failed", error);
    }
  }

  /**
   * Another tab wrote to this text meanwhile: what is written here becomes a text of its own.
   * @param isGone it took the text away: nothing is left that this one's could be told from
   */
  async #part(isGone = false) {
    const other = this.card.id;
    const { story } = this.#sheet;
    const { title, settings } = this.card;
    this.card = newCard({ title, settings });
    story.touch();
    this.#isDirty = true;
    await this.#save();
    if (!isGone) this.#tell("apart", other);
  }

  async #hear({ id, revision }) {
    this.#tell("listed");
    if (id === this.card.id && revision > this.card.revision) await this.refresh();
  }

  /** Shows what another tab wrote to this text, where nothing of this one's waits to be kept. */
  async refresh() {
    await this.#saving;
    const { id } = this.card;
    const found = await this.texts?.read(id);
    const isFree = !this.#isDirty && !this.#sheet.isBusy && this.card.id === id;
    if (!found || !isFree || found.card.revision <= this.card.revision) return;
    this.#show(found);
    this.#tell("adopted");
  }

  #leave() {
    keepDraft(this.#asDraft());
    this.flush();
  }

  #asDraft() {
    const { id, revision } = this.card;
    return { id, revision, writer: TAB, ...this.#sheet.read() };
  }

  #tell(event, detail) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }
}

/** This page's name among those that write to a text. */
const TAB = Math.random().toString(36).slice(2);
