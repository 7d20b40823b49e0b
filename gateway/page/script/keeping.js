/** Ties the sheet to the texts that are kept: opens them on it, and says what becomes of them. */

import { say } from "./language.js";
import { openDatabase } from "./store/database.js";
import { Keeper, titleOf } from "./store/keeper.js";
import { Texts } from "./store/texts.js";
import { Chronicle } from "./story/chronicle.js";
import { manuscriptOf } from "./story/retelling.js";

const NAME = document.title;

export class Keeping {
  keeper;
  chronicle;
  #parts;
  #shelf = null;
  #map = null;
  #saysNowhere = false;

  /**
   * @param parts `writer, paper, settings, notice, service, opener` and `mapOpener` (the buttons of
   *   the shelf and the map), `context()` (the model's name and digest), `onShow()` (another text
   *   is on the sheet), `returnToText()`, `link(fields)` (shows a link)
   */
  constructor(parts) {
    this.#parts = parts;
    const { writer, opener } = parts;
    this.chronicle = new Chronicle(writer, parts.context);
    this.keeper = new Keeper(this.#sheet());
    this.keeper.addEventListener("kept", () => this.#name());
    this.keeper.addEventListener("adopted", () => this.#say(say("Another tab wrote this; here it is.")));
    this.keeper.addEventListener("apart", ({ detail }) => this.#sayApart(detail));
    this.keeper.addEventListener("failed", ({ detail }) => this.#sayFailed(detail));
    opener.addEventListener("click", () => this.openShelf());
    parts.mapOpener.addEventListener("click", () => this.openMap());
    takeDrops((files) => this.#import(files));
  }

  /** @param isTaken whether a link's text is on the sheet */
  async start(isTaken) {
    let texts;
    try {
      texts = new Texts(await openDatabase(), openDatabase);
    } catch {
      this.#saysNowhere = true;
      return;
    }
    await this.keeper.attach(texts, isTaken);
  }

  changed() {
    this.keeper.changed();
    if (!this.#saysNowhere || this.#parts.writer.manuscript.text === "") return;
    this.#saysNowhere = false;
    import("./shelf/storage.js").then(({ NOWHERE }) => {
      this.#say(NOWHERE, { [say("Export")]: () => this.#export() });
    });
  }

  async openShelf() {
    (await this.#loadShelf()).open();
  }

  async openMap() {
    const { StoryMap } = await import("./story/map.js");
    this.#map ??= new StoryMap(
      {
        chronicle: this.chronicle,
        walk: (id) => this.#walk(id),
        changed: () => this.keeper.changed(),
        share: () => this.#share(),
      },
      this.#parts.mapOpener,
    );
    await this.#map.open();
  }

  closeMap() {
    this.#map?.close();
  }

  /** Puts another branch of the tree on the sheet; undo goes back. */
  #walk(id) {
    const { story } = this.chronicle;
    this.chronicle.settle();
    const manuscript = manuscriptOf(story, id);
    this.#parts.writer.walk(manuscript);
    this.chronicle.arrive(manuscript, id);
    this.keeper.changed();
    this.#parts.returnToText();
  }

  async #share() {
    const { packStory } = await import("./story/link.js");
    this.chronicle.settle();
    const { fields, words } = await packStory(this.keeper.card, this.chronicle.story);
    if (fields) this.#parts.link(fields);
    this.#say(words);
  }

  /** A tree that came with a link, as a text of its own. */
  async openLink(fields) {
    const { unpackStory } = await import("./story/link.js");
    try {
      const { values, text, branches, words } = await unpackStory(fields, this.#parts);
      await this.keeper.create(values, text, branches);
      this.#say(words);
    } catch (error) {
      if (!error.words && !error.kind) throw error;
      this.#say(error.words ?? error.message);
    }
  }

  #sheet() {
    const { writer, paper, settings } = this.#parts;
    const { chronicle } = this;
    return {
      read: () => ({
        text: writer.manuscript.text,
        place: paper.place,
        settings: settings.chosen,
      }),
      show: ({ card, text, story }) => {
        const isSame = text === writer.manuscript.text;
        const kept = manuscriptOf(story, story.current);
        writer.load(kept.text === text ? kept : kept.edit(text));
        chronicle.open(story);
        settings.restore(card.settings);
        this.#parts.onShow();
        if (!isSame) paper.place = card.place;
      },
      get story() {
        return chronicle.story;
      },
      get isBusy() {
        return writer.writing || writer.ghost !== null || writer.choices !== null;
      },
    };
  }

  async #loadShelf() {
    const { Shelf } = await import("./shelf/shelf.js");
    this.#shelf ??= new Shelf(this.keeper, this.#parts.opener, ({ focus = true } = {}) => {
      if (focus) this.#parts.returnToText();
    });
    return this.#shelf;
  }

  async #import(files) {
    const said = await (await this.#loadShelf()).import(files);
    this.#say(said.join(" "));
  }

  async #export() {
    const [{ saveFile }, { writeFile }] = await Promise.all([
      import("./shelf/files.js"),
      import("./shelf/transfer.js"),
    ]);
    this.chronicle.settle();
    const { story } = this.chronicle;
    const { text } = this.#parts.writer.manuscript;
    const card = { ...this.keeper.card, beginning: text.slice(0, 80), current: story.current };
    saveFile(writeFile("json", { card, text, branches: story.all }));
  }

  #name() {
    const { text } = this.#parts.writer.manuscript;
    const title = titleOf({ title: this.keeper.card.title, beginning: text.slice(0, 160) });
    document.title = title ? `${title} · ${NAME}` : NAME;
  }

  #sayApart(other) {
    this.#say(
      say("This text was changed in another tab too. Your version continues here as a separate text."),
      { [say("Show the other")]: () => this.keeper.open(other) },
    );
  }

  #sayFailed({ name }) {
    this.#say(whyNot(name), {
      [say("Export")]: () => this.#export(),
      [say("Your texts")]: () => this.openShelf(),
    });
  }

  #say(words, actions) {
    this.#parts.notice.show("hint", words, actions);
  }
}

/** Why a text is not kept, by the browser's name for it. */
function whyNot(name) {
  if (name === "QuotaExceededError") {
    return say("The browser has no space left: this is not saved. Export it, or empty the trash.");
  }
  if (name === "VersionError") {
    return say("Another tab has opened a newer version of this page: nothing is saved until you reload.");
  }
  return say("The browser could not save this. Export it, or type on to try again.");
}

/** Files that are dropped anywhere on the page. */
function takeDrops(take) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (shown) => document.body.classList.toggle("is-dropping", shown);
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(true);
  });
  addEventListener("dragleave", ({ relatedTarget }) => relatedTarget ?? show(false));
  addEventListener("drop", (event) => {
    show(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
}
