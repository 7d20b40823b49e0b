/** A branch of a story as a manuscript: its text, and which of its words the model wrote. */

import { Manuscript } from "../manuscript.js";
import { tokensOf } from "./chronicle.js";

/** @returns {Manuscript} */
export function manuscriptOf(story, id) {
  return story
    .path(id)
    .reduce(
      (manuscript, branch) => manuscript.splice(branch, tokensOf(branch)),
      new Manuscript(""),
    );
}
