/** How soon the first token came and how fast the others followed. */
export class Stopwatch {
  #start = performance.now();
  #first = null;
  #last = null;
  #firstCount = 0;
  count = 0;

  /** @param tokens how many tokens just arrived */
  lap(tokens) {
    this.#last = performance.now();
    this.count += tokens;
    if (this.#first === null) {
      this.#first = this.#last;
      this.#firstCount = this.count;
    }
  }

  /** The server's own count, when it has told one. */
  correct(count) {
    this.count = count;
  }

  /** Milliseconds from asking to the first token, or null. */
  get timeToFirstToken() {
    return this.#first === null ? null : this.#first - this.#start;
  }

  /**
   * Tokens per second after the first, or null while too few have come to tell. Where all came at
   * once (a short text, a busy browser), the wait for them counts too.
   */
  get rate() {
    const later = this.count - this.#firstCount;
    const seconds = (this.#last - this.#first) / 1000;
    if (later > 0 && seconds > 0.01) return later / seconds;
    const whole = (this.#last - this.#start) / 1000;
    return this.count > 1 && whole > 0 ? this.count / whole : null;
  }
}
