/** Ways to write that have a name, with what each is good for. */

import { say } from "./language.js";

export const PRESETS = {
  steady: { temperature: 0.6, top_p: 0.9 },
  lively: { temperature: 1, top_p: 0.95 },
  wild: { temperature: 1.3, top_p: 0.98 },
};
const WORDS = {
  own: () => say("As its makers set it: the best guess for this model."),
  steady: () => say("Keeps to the thread: good for going on calmly where you are."),
  lively: () => say("Turns corners: good for what happens next."),
  wild: () => say("Says what nobody would: good for being stuck, bad for grammar."),
};

/** @returns {{name: string | null, words: string}} the one that these values are */
export function presetOf(values, defaults) {
  const isSame = (preset) =>
    ["temperature", "top_p"].every(
      (field) => Math.abs((preset[field] ?? Number.NaN) - values[field]) < 0.005,
    );
  const found = Object.entries({ own: defaults, ...PRESETS }).find(([, preset]) => isSame(preset));
  return found ? { name: found[0], words: WORDS[found[0]]() } : { name: null, words: say("Your own mixture.") };
}
