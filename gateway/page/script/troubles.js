/** What the person reads, and what happens next, when the service can not do what was asked. */

import { plural } from "./words.js";

const POLL_SECONDS = 2;
const TRIES_WHEN_FULL = 3;
const WAITS = {
  starting: "The model is starting and will answer soon.",
  unreachable: "The service does not answer.",
};

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

export class Troubles {
  #notice;
  #service;
  #key;
  #actions;
  #waiting = null;
  #triesWhenFull = 0;
  #knowsModel = false;

  /**
   * @param actions `goOn()` continues after what came, `useEnd()` lets the model read only the
   *   end of the text, `ready(model)` takes the model when it answers
   */
  constructor(notice, service, key, actions) {
    this.#notice = notice;
    this.#service = service;
    this.#key = key;
    this.#actions = actions;
  }

  /** Does something with the service; when that fails, says so and offers the way on. */
  async attempt(task) {
    this.clear();
    try {
      if (!this.#knowsModel) await this.load();
      await task();
      this.#triesWhenFull = 0;
    } catch (error) {
      if (!error.kind) throw error;
      await this.#meet(error, task);
    }
  }

  /** The person writes on: nothing is to be tried again, but a model that starts is waited for. */
  dismiss() {
    if (this.#waiting?.task !== null) this.clear();
  }

  /** Nothing is the matter any more. */
  clear() {
    this.#waiting = null;
    this.#notice.clear();
  }

  /**
   * Waits until the model answers.
   * @param kind `starting` or `unreachable`
   * @param task what to do then, or null
   */
  async awaitModel(kind, task) {
    const then = task ? "Your text goes on by itself as soon as it does." : "You can write already.";
    const waiting = this.#wait(
      task,
      `${WAITS[kind]} ${then}`,
      task ? { "Never mind": () => this.clear() } : {},
    );
    for (;;) {
      await pause(POLL_SECONDS);
      if (this.#waiting !== waiting) return;
      const kind = await this.#load();
      if (this.#waiting !== waiting) return;
      if (kind === "starting" || kind === "unreachable" || kind === "failed") continue;
      if (kind === "key" && !task) this.wantKey();
      else if (task) await this.attempt(task);
      else this.clear();
      return;
    }
  }

  /** Asks which model is loaded. Throws ServiceError. */
  async load() {
    this.#actions.ready(await this.#service.model());
    this.#knowsModel = true;
  }

  /** @returns {Promise<string|null>} the kind of trouble, or null when the model is known now */
  async #load() {
    try {
      await this.load();
      return null;
    } catch (error) {
      if (!error.kind) throw error;
      return error.kind;
    }
  }

  #wait(task, words, actions) {
    const waiting = { task };
    this.#waiting = waiting;
    this.#notice.show("wait", words, actions);
    return waiting;
  }

  #meet(error, task) {
    const again = { "Try again": () => this.attempt(task) };
    switch (error.kind) {
      case "starting":
      case "unreachable":
        return this.awaitModel(error.kind, task);
      case "full":
        return this.#waitForRoom(error, task);
      case "key":
        return this.#askKey(task);
      case "too-long":
        return this.#notice.show(
          "trouble",
          "The text is longer than the model can read at once.",
          { "Read only the end of it": () => this.#useEnd(task) },
        );
      case "cut":
        return this.#notice.show("trouble", `${error.message} What came so far is still here.`, {
          "Go on from here": () => this.#actions.goOn(),
        });
      case "refused":
        return this.#notice.show("trouble", error.message);
      default:
        return this.#notice.show("trouble", error.message, again);
    }
  }

  #useEnd(task) {
    this.#actions.useEnd();
    return this.attempt(task);
  }

  async #waitForRoom({ retryAfter, message }, task) {
    const again = { "Try now": () => this.attempt(task) };
    this.#triesWhenFull += 1;
    if (retryAfter === null || this.#triesWhenFull > TRIES_WHEN_FULL) {
      this.#triesWhenFull = 0;
      this.#notice.show("trouble", message, again);
      return;
    }
    const words = (left) => `The service is busy. Trying again in ${plural(left, "second")}.`;
    const actions = { ...again, "Never mind": () => this.clear() };
    const waiting = this.#wait(task, words(retryAfter), actions);
    for (let left = retryAfter; left > 0; left -= 1) {
      this.#notice.say(words(left));
      await pause(1);
      if (this.#waiting !== waiting) return;
    }
    await this.attempt(task);
  }

  async #askKey(task) {
    if (await this.#key.ask()) await this.attempt(task);
    else this.wantKey(task);
  }

  /** Something to know that is no trouble. */
  hint(words) {
    this.#notice.show("hint", words);
  }

  /** Says that a key is wanted, and asks only when the person is ready to give it. */
  wantKey(task = () => {}) {
    this.#notice.show("hint", "This service is open to people with an access key.", {
      "Enter key": () => this.#askKey(task),
    });
  }
}
