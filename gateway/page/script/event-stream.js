/** Server-sent events from a stream of bytes. Knows the format, not what the events mean. */

/** Takes text in pieces of any size and gives the data of each event that is complete. */
export class EventParser {
  #line = "";
  #data = [];
  #afterReturn = false;

  /** @returns {string[]} the data of the events that this piece completed */
  push(piece) {
    const events = [];
    for (const character of piece) {
      const secondOfPair = character === "\n" && this.#afterReturn;
      this.#afterReturn = character === "\r";
      if (secondOfPair) continue;
      if (character !== "\n" && character !== "\r") {
        this.#line += character;
        continue;
      }
      const event = this.#endLine();
      if (event !== null) events.push(event);
    }
    return events;
  }

  #endLine() {
    const line = this.#line;
    this.#line = "";
    if (line === "") {
      const data = this.#data;
      this.#data = [];
      return data.length ? data.join("\n") : null;
    }
    // A line that starts with a colon is a comment; other fields than data mean nothing here.
    if (line.startsWith("data:")) this.#data.push(line.slice(5).replace(/^ /, ""));
    return null;
  }
}

/** Yields the data of each event of a `ReadableStream` of bytes, until the stream ends. */
export async function* readEvents(body) {
  const parser = new EventParser();
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // Leaving early must tell the server to stop writing.
    reader.cancel().catch(() => {});
  }
}
