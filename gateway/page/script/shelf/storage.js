/** What the browser says of the room it gives, in words. */

import { make } from "../dom.js";
import { say } from "../language.js";

export const NOWHERE = say(
  "This browser stores nothing for this page: storage is switched off, or this is a private window " +
    "without any. What you write is lost when you close it. Export what you want to keep.",
);

/** @returns {Promise<HTMLElement[]>} paragraphs for the foot of the shelf */
export async function storageWords(keeper) {
  if (!keeper.texts) return [make("p", {}, NOWHERE)];
  const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.()) ?? {};
  const isSafe = (await navigator.storage?.persisted?.()) ?? false;
  const parts = [
    make("p", {}, say("Only in this browser, on this device: no server has your texts. A private window forgets them when it closes.")),
    make("p", {}, say("{used} of {all} are in use.", { used: size(usage), all: size(quota) })),
  ];
  if (isSafe) return parts;
  const ask = make(
    "button",
    {
      click: async () => {
        const given = await navigator.storage.persist();
        risk.textContent = given ? say("The browser keeps them.") : say("The browser says no: export what matters.");
      },
    },
    say("Ask it to keep them"),
  );
  const risk = make("p", {}, say("The browser may clear them when the disk is full."), " ", ask);
  return navigator.storage?.persist ? [...parts, risk] : parts;
}

function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  let at = 0;
  let value = bytes;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  const style = { style: "unit", unit: units[at], maximumFractionDigits: value < 10 ? 1 : 0 };
  return value.toLocaleString(document.documentElement.lang, style);
}
