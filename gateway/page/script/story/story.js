/**
 * The tree of a story. Every branch holds its own words and what it keeps of its parent's text, so
 * its text is there whatever becomes of the model. Knows neither screen nor storage.
 *
 * A branch: `{ id, parent, keep, added, tail, by, state, pinned, time, made, tokens }`. `by` is
 * `writer` or `model`, `state` `taken`, `dropped` or `offered`; `made` says how to have it again:
 * `{ seed, settings, n, index, digest, model }`; `tokens` are the model's, from the branch's start.
 */

import { join, splice } from "./splice.js";

export class Story {
  #branches = new Map();
  #children = new Map();
  #texts = new Map();
  #changed = new Set();
  #pruned = new Set();
  #last = 0;
  current = null;

  constructor(branches = [], current = null) {
    for (const branch of branches) this.#put(branch);
    this.current = this.#branches.has(current) ? current : this.#newest();
    this.#changed.clear();
  }

  get size() {
    return this.#branches.size;
  }

  get(id) {
    return this.#branches.get(id) ?? null;
  }

  get all() {
    return [...this.#branches.values()];
  }

  /** @returns {object[]} the branches that begin at one, or at nothing; the oldest first */
  children(id) {
    return (this.#children.get(id) ?? []).map((child) => this.#branches.get(child));
  }

  /** @returns {object[]} from the first branch to this one */
  path(id) {
    const found = [];
    for (let at = this.get(id); at; at = this.get(at.parent)) found.push(at);
    return found.reverse();
  }

  /** @returns {string} the whole text of a branch */
  textOf(id) {
    if (id === null || !this.#branches.has(id)) return "";
    const path = this.path(id);
    let known = path.findLastIndex((branch) => this.#texts.has(branch.id));
    let text = known >= 0 ? this.#texts.get(path[known].id) : "";
    for (const branch of path.slice(known + 1)) text = join(text, branch);
    // The last few alone: a tree of a long text must not be held a thousand times.
    if (this.#texts.size > 8) this.#texts.delete(this.#texts.keys().next().value);
    this.#texts.set(id, text);
    return text;
  }

  /**
   * Takes what stands on the sheet for the current branch: one that the writer goes on with, one
   * that is there already, or a new one.
   * @returns {number | null} its id
   */
  settle(text, now = Date.now()) {
    const { current } = this;
    const before = this.textOf(current);
    if (text === before) return current;
    const here = this.get(current);
    const twin = this.children(current).find((child) => this.textOf(child.id) === text);
    if (twin) return this.take(twin.id);
    const isOpen =
      here?.by === "writer" && !here.pinned && this.children(current).length === 0;
    if (isOpen && sameStretch(here, this.textOf(here.parent), text)) {
      this.#change({ ...here, ...splice(this.textOf(here.parent), text), time: now });
      return current;
    }
    const made = this.add(current, { ...splice(before, text), by: "writer", state: "taken" }, now);
    this.current = made.id;
    return made.id;
  }

  /** @returns {object} a new branch */
  add(parent, values, now = Date.now()) {
    const branch = { pinned: false, made: null, tokens: [], ...values };
    const made = { ...branch, id: this.#last + 1, parent, time: now };
    this.#put(made);
    return made;
  }

  change(id, values) {
    this.#change({ ...this.get(id), ...values });
  }

  /** Goes to a branch. */
  take(id) {
    this.current = id;
    for (const branch of this.path(id)) {
      if (branch.state !== "taken") this.change(branch.id, { state: "taken" });
    }
    return id;
  }

  /** @returns {object[]} a branch and all that grew from it */
  below(id) {
    const found = [];
    const open = [id];
    while (open.length) {
      const branch = this.get(open.pop());
      if (!branch) continue;
      found.push(branch);
      open.push(...(this.#children.get(branch.id) ?? []));
    }
    return found;
  }

  /** Whether a branch can be taken away: it is not on the way to the current one, nor pinned. */
  canPrune(id) {
    const kept = new Set(this.path(this.current).map((branch) => branch.id));
    return this.below(id).every((branch) => !kept.has(branch.id) && !branch.pinned);
  }

  /** @returns {object[]} what was taken away, for `restore` */
  prune(id) {
    const gone = this.below(id);
    const { parent } = this.get(id);
    for (const branch of gone) {
      this.#branches.delete(branch.id);
      this.#children.delete(branch.id);
      this.#texts.delete(branch.id);
      this.#changed.delete(branch.id);
      this.#pruned.add(branch.id);
    }
    this.#children.set(parent, this.#children.get(parent).filter((child) => child !== id));
    return gone;
  }

  restore(branches) {
    for (const branch of branches) {
      this.#pruned.delete(branch.id);
      this.#put(branch);
    }
  }

  /** @returns {{changed: object[], pruned: number[]}} since it was asked last */
  takeChanges() {
    const changed = [...this.#changed].map((id) => this.get(id)).filter(Boolean);
    const pruned = [...this.#pruned];
    this.#changed.clear();
    this.#pruned.clear();
    return { changed, pruned };
  }

  /** All of it is to be saved: it becomes a text of its own. */
  touch() {
    for (const id of this.#branches.keys()) this.#changed.add(id);
  }

  /** What could not be saved is to be saved next time. */
  giveBack({ changed, pruned }) {
    for (const { id } of changed) this.#changed.add(id);
    for (const id of pruned) if (!this.#branches.has(id)) this.#pruned.add(id);
  }

  #put(branch) {
    this.#branches.set(branch.id, branch);
    const siblings = this.#children.get(branch.parent) ?? [];
    siblings.push(branch.id);
    // In order already, as a rule: a tree of ten thousand is not sorted ten thousand times.
    if (siblings.at(-2) > branch.id) siblings.sort((a, b) => a - b);
    this.#children.set(branch.parent, siblings);
    this.#last = Math.max(this.#last, branch.id);
    this.#changed.add(branch.id);
  }

  #change(branch) {
    this.#branches.set(branch.id, branch);
    this.#changed.add(branch.id);
    for (const { id } of this.below(branch.id)) this.#texts.delete(id);
  }

  #newest() {
    return this.#last === 0 ? null : this.#last;
  }
}

/** Whether the writer is still at the same stretch, so that it need not become a branch. */
function sameStretch(branch, parentText, text) {
  const now = splice(parentText, text);
  return now.keep >= branch.keep - 1 && now.tail >= branch.tail - 1;
}
