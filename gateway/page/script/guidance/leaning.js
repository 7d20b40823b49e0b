/** How much a word is wanted: steps, and words for them. */

import { say } from "../language.js";

/** Added to a word's logit: two make it about seven times as likely, before all else is weighed. */
const STEPS = ["never", -4, -2, 0, 2, 4];

/** @returns {number | "never"} so many steps on from there, as far as there are any */
export function stepped(by, step) {
  const at = STEPS.indexOf(by) < 0 ? STEPS.indexOf(0) : STEPS.indexOf(by);
  return STEPS[Math.min(Math.max(at + step, 0), STEPS.length - 1)];
}

export function leaningWords(by) {
  if (by === "never") return say("never");
  if (by === 0) return "";
  if (by < 0) return by <= -4 ? say("much less often") : say("less often");
  return by >= 4 ? say("much more often") : say("more often");
}
