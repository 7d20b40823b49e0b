/** What the person reads, and what happens next, when the service cannot do what was asked. */

import { say } from "./language.js";

const POLL_SECONDS = 2;
/** How often a text is sent again by itself. */
const MOST_RESENDS = 3;
const WAITS = {
  starting: say("The model is starting and will answer soon."),
  unreachable: say("The service does not answer."),
};
const STILL = {
  starting: say("The model is still not ready."),
  unreachable: say("The service still does not answer."),
  full: say("The service is still busy."),
};

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

export class Troubles {
  #notice;
  #service;
  #key;
  #actions;
  #waiting = null;
  #resends = 0;
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
  attempt(task) {
    this.#resends = 0;
    return this.#send(task);
  }

  #resend(task) {
    this.#resends += 1;
    return this.#send(task);
  }

  async #send(task) {
    this.clear();
    try {
      if (!this.#knowsModel) await this.load();
      await task();
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
    const then = task
      ? say("Your text goes on by itself as soon as it does.")
      : say("You can write in the meantime.");
    const waiting = this.#wait(
      task,
      `${this.#waitWords(kind)} ${then}`,
      task ? { [say("Never mind")]: () => this.clear() } : {},
    );
    for (;;) {
      await pause(POLL_SECONDS);
      if (this.#waiting !== waiting) return;
      const trouble = await this.#load();
      if (this.#waiting !== waiting) return;
      if (["starting", "unreachable", "failed", "full"].includes(trouble)) continue;
      if (trouble === "key" && !task) this.wantKey();
      else if (task) await this.#resend(task);
      else this.clear();
      return;
    }
  }

  #waitWords(kind) {
    const isOffline = kind === "unreachable" && !navigator.onLine;
    return isOffline ? say("You are offline: the model can write again once you are back.") : WAITS[kind];
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
    const again = { [say("Try again")]: () => this.attempt(task) };
    if (error.kind in STILL && this.#resends >= MOST_RESENDS) {
      return this.#notice.show("trouble", STILL[error.kind], again);
    }
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
          say("The text is longer than the model can read at once."),
          { [say("Read only the end of it")]: () => this.#useEnd(task) },
        );
      case "cut":
        return this.#notice.show("trouble", `${error.message} ${say("What came so far is still here.")}`, {
          [say("Go on from here")]: () => this.#actions.goOn(),
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

  async #waitForRoom({ retryAfter }, task) {
    const words = (left) =>
      left === 1
        ? say("The service is busy. Trying again in 1 second.")
        : say("The service is busy. Trying again in {n} seconds.", { n: left });
    const actions = { [say("Try now")]: () => this.attempt(task), [say("Never mind")]: () => this.clear() };
    const seconds = Math.max(1, retryAfter ?? POLL_SECONDS);
    const waiting = this.#wait(task, words(seconds), actions);
    for (let left = seconds; left > 0; left -= 1) {
      this.#notice.say(words(left));
      await pause(1);
      if (this.#waiting !== waiting) return;
    }
    await this.#resend(task);
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
    this.#notice.show("hint", say("This service is open to people with an access key."), {
      [say("Enter key")]: () => this.#askKey(task),
    });
  }
}
