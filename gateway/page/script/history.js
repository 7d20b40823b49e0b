/** Steps back and forth through states. Knows nothing of what a state is. */

const TYPING_PAUSE_MS = 1200;

export class History {
  #states;
  #position = 0;
  #kind = null;
  #time = 0;

  constructor(first) {
    this.#states = [first];
  }

  get canUndo() {
    return this.#position > 0;
  }

  get canRedo() {
    return this.#position < this.#states.length - 1;
  }

  /**
   * Adds a state. Those of one kind that follow each other soon are one step.
   * @param kind a name for steps that belong together, or null for a step of its own
   */
  push(state, kind = null, now = performance.now()) {
    const joins =
      kind !== null &&
      kind === this.#kind &&
      (kind !== "typing" || now - this.#time < TYPING_PAUSE_MS);
    this.#states.length = this.#position + 1;
    if (joins) this.#states[this.#position] = state;
    else this.#position = this.#states.push(state) - 1;
    this.#kind = kind;
    this.#time = now;
  }

  undo() {
    return this.#move(-1);
  }

  redo() {
    return this.#move(1);
  }

  #move(step) {
    this.#position = Math.min(Math.max(this.#position + step, 0), this.#states.length - 1);
    this.#kind = null;
    return this.#states[this.#position];
  }
}
