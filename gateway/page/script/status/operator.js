/** Asks the service what only an operator may know or change. */

import { keepInTab, ofTab } from "../tab.js";

const PLACE = "management-key";

/** `status` is HTTP's, 0 where nobody answered; `message` is for people. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Operator {
  get hasKey() {
    return ofTab(PLACE) !== null;
  }

  useKey(key) {
    keepInTab(PLACE, key || null);
  }

  facts() {
    return this.#ask("status/facts").then((reply) => reply.json());
  }

  metrics() {
    return this.#ask("metrics").then((reply) => reply.text());
  }

  /** @returns {Promise<string>} what the service says of it */
  async scale(model, version, count) {
    const path = `models/${encodeURIComponent(model)}/${encodeURIComponent(version)}?min_worker=${count}`;
    return (await (await this.#ask(path, "PUT")).json()).status;
  }

  async makeDefault(model, version) {
    const path = `models/${encodeURIComponent(model)}/${encodeURIComponent(version)}/set-default`;
    return (await (await this.#ask(path, "PUT")).json()).status;
  }

  async #ask(path, method = "GET") {
    const key = ofTab(PLACE);
    const bytes = new TextEncoder().encode(key ?? "");
    const headers = key ? { authorization: `Bearer ${String.fromCharCode(...bytes)}` } : {};
    let reply;
    try {
      reply = await fetch(path, { method, headers, cache: "no-store" });
    } catch {
      throw new Refusal(0, "");
    }
    if (reply.ok) return reply;
    const { error } = await reply.json().catch(() => ({}));
    throw new Refusal(reply.status, error?.message ?? `${reply.status}`);
  }
}
