/** Texts in the browser's database: what each is (a card), its words (a body) and its branches. */

import { completed, resultOf } from "./database.js";

const ALL = ["texts", "bodies", "branches"];
const branchesOf = (id) => IDBKeyRange.bound([id], [id, []]);

/** Another tab has written to this text since it was read here, or has taken it away (`isGone`). */
export class Conflict extends Error {
  constructor(isGone) {
    super(isGone ? "gone" : "changed");
    this.isGone = isGone;
  }
}

/** @returns {object} the card of a text that nobody has written to yet */
export function newCard(values = {}) {
  const now = Date.now();
  return {
    id: crypto.randomUUID?.() ?? `${now}-${Math.random().toString(36).slice(2)}`,
    title: "",
    created: now,
    changed: now,
    beginning: "",
    words: 0,
    place: 0,
    settings: {},
    current: null,
    revision: 0,
    trashed: null,
    ...values,
  };
}

export class Texts extends EventTarget {
  #database;
  #open;
  #channel = new BroadcastChannel("go-on-texts");

  /**
   * Tells of a text that was saved in another tab: `saved`, with its id and revision.
   * @param open opens the database again, where the browser has closed it: somebody cleared it
   */
  constructor(database, open = null) {
    super();
    this.#database = database;
    this.#open = open;
    this.#channel.onmessage = ({ data }) => {
      this.dispatchEvent(new CustomEvent("saved", { detail: data }));
    };
  }

  /** @returns {Promise<object[]>} all cards, the last changed first */
  async cards() {
    const cards = await resultOf((await this.#begin(["texts"])).objectStore("texts").getAll());
    return cards.sort((a, b) => b.changed - a.changed);
  }

  /** @returns {Promise<{card, text, branches} | null>} */
  async read(id) {
    const transaction = await this.#begin(ALL);
    const [card, body, branches] = await Promise.all([
      resultOf(transaction.objectStore("texts").get(id)),
      resultOf(transaction.objectStore("bodies").get(id)),
      resultOf(transaction.objectStore("branches").getAll(branchesOf(id))),
    ]);
    return card ? { card, text: body?.text ?? "", branches } : null;
  }

  /**
   * Writes a text: its card, its body, and the branches that changed.
   * @param card with the revision that was read or written here last
   * @param pruned ids of branches that are no more
   * @returns {Promise<object>} the card with its new revision; throws Conflict, or the browser's
   *   QuotaExceededError
   */
  async save(card, text, branches = [], pruned = []) {
    const transaction = await this.#begin(ALL, "readwrite");
    const done = completed(transaction);
    done.catch(() => {});
    const stored = await resultOf(transaction.objectStore("texts").get(card.id));
    if ((stored?.revision ?? 0) !== card.revision) {
      transaction.abort();
      throw new Conflict(!stored);
    }
    const saved = { ...card, revision: card.revision + 1 };
    transaction.objectStore("texts").put(saved);
    transaction.objectStore("bodies").put({ id: card.id, text });
    const shelf = transaction.objectStore("branches");
    for (const branch of branches) shelf.put({ ...branch, text: card.id });
    for (const id of pruned) shelf.delete([card.id, id]);
    await done;
    this.#tell(saved);
    return saved;
  }

  /** Changes a card alone: its title, or whether it lies in the trash. */
  async change(id, values) {
    const transaction = await this.#begin(["texts"], "readwrite");
    const done = completed(transaction);
    done.catch(() => {});
    const cards = transaction.objectStore("texts");
    const stored = await resultOf(cards.get(id));
    if (!stored) return null;
    const saved = { ...stored, ...values, revision: stored.revision + 1 };
    cards.put(saved);
    await done;
    this.#tell(saved);
    return saved;
  }

  /** Takes texts away for good. */
  async remove(ids) {
    const transaction = await this.#begin(ALL, "readwrite");
    const done = completed(transaction);
    for (const id of ids) {
      transaction.objectStore("texts").delete(id);
      transaction.objectStore("bodies").delete(id);
      transaction.objectStore("branches").delete(branchesOf(id));
    }
    await done;
    for (const id of ids) this.#channel.postMessage({ id, revision: -1 });
  }

  /** @returns {Promise<Set<string>>} ids of the texts that hold these words, in any case */
  async search(words) {
    const wanted = words.toLocaleLowerCase();
    const transaction = await this.#begin(["texts", "bodies"]);
    const found = new Set();
    const look = (store, wordsOf) =>
      eachOf(transaction.objectStore(store), (value) => {
        if (wordsOf(value).toLocaleLowerCase().includes(wanted)) found.add(value.id);
      });
    await Promise.all([
      look("texts", ({ title }) => title),
      look("bodies", ({ text }) => text),
    ]);
    return found;
  }

  async #begin(stores, mode = "readonly") {
    try {
      return this.#database.transaction(stores, mode);
    } catch (error) {
      if (error.name !== "InvalidStateError" || !this.#open) throw error;
      this.#database = await this.#open();
      return this.#database.transaction(stores, mode);
    }
  }

  #tell({ id, revision }) {
    this.#channel.postMessage({ id, revision });
  }
}

/** Goes through a store, one value in memory at a time. */
function eachOf(store, take) {
  return new Promise((resolve, reject) => {
    const request = store.openCursor();
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor) return resolve();
      take(cursor.value);
      cursor.continue();
    };
  });
}
