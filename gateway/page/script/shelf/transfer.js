/** Texts as files, and files as texts. */

import { say } from "../language.js";
import { MIGRATION } from "../store/database.js";
import { BEGINNING, titleOf } from "../store/keeper.js";
import { readBranches, readCard } from "./checked.js";

const FORMAT = "go-on";
const MOST_CHARACTERS = 20_000_000;
// Formats that are written in letters, and yet are no text to read.
const NO_TEXT = /^(\{\\rtf|%PDF-)/;

/** A file that cannot be read; `words` say why. */
class Unreadable extends Error {
  constructor(words) {
    super(words);
    this.words = words;
  }
}

/**
 * @param kind `txt`, `md` or `json`
 * @param text `{card, text, branches}` as the database has it
 * @returns {{name, type, content}}
 */
export function writeFile(kind, { card, text, branches }) {
  const title = titleOf(card);
  // Letters that no file system takes, and names that begin with a dot.
  const name = title.replace(/[\\/:*?"<>|\p{Cc}]/gu, " ").replace(/^[.\s]+|[.\s]+$/g, "") || "text";
  if (kind === "txt") return { name: `${name}.txt`, type: "text/plain", content: text };
  if (kind === "md") {
    const heading = card.title ? `# ${card.title}\n\n` : "";
    return { name: `${name}.md`, type: "text/markdown", content: heading + text };
  }
  const { created, changed, place, settings, current } = card;
  const about = { title: card.title, created, changed, place, settings, current };
  const tree = branches.map(({ text: _, ...branch }) => branch);
  const whole = { format: FORMAT, migration: MIGRATION, ...about, text, branches: tree };
  return {
    name: `${name}.json`,
    type: "application/json",
    content: JSON.stringify(whole, null, 1),
  };
}

/** @returns {Promise<{values, text, branches}>} for `Keeper.create`; rejects with Unreadable */
export async function readFile(file) {
  const { name } = file;
  // At most four bytes a character: what is longer need not be read to be refused.
  if (file.size > 4 * MOST_CHARACTERS) throw tooLong(name);
  const content = decode(new Uint8Array(await file.arrayBuffer()));
  if (content.length > MOST_CHARACTERS) throw tooLong(name);
  if (/\.json$/i.test(name)) return readTree(name, content);
  const text = content.replace(/\r\n?/g, "\n");
  if (text.includes("\0") || NO_TEXT.test(text)) {
    throw new Unreadable(say("{name} is not a text file.", { name }));
  }
  const base = name.replace(/\.[^.]*$/, "");
  const heading = /\.(md|markdown)$/i.test(name) && text.match(/^# (.+)\n+/);
  if (heading) return { values: { title: heading[1] }, text: text.slice(heading[0].length), branches: [] };
  return { values: { title: isBeginning(base, text) ? "" : base }, text, branches: [] };
}

const tooLong = (name) =>
  new Unreadable(say("{name} is too long: at most 20 million characters.", { name }));

/** Text as editors write it: UTF-8, UTF-16 with its mark, and what Windows wrote before them. */
function decode(bytes) {
  const [one, two] = bytes;
  if (one === 0xff && two === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (one === 0xfe && two === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** Where the caret was. */
function readPlace({ place, text }) {
  return Number.isSafeInteger(place) && place >= 0 ? Math.min(place, text.length) : 0;
}

/** Whether a file is called after its first words, as this page calls what has no title. */
function isBeginning(base, text) {
  const plain = (words) => words.replace(/[^\p{L}\p{N}]+/gu, " ").trim();
  const name = plain(base.replace(/ \(\d+\)$/, ""));
  return name !== "" && plain(titleOf({ title: "", beginning: text.slice(0, BEGINNING) })) === name;
}

function readTree(name, content) {
  const wrong = new Unreadable(say("{name} was not exported by this page.", { name }));
  let read;
  try {
    read = JSON.parse(content);
  } catch {
    throw wrong;
  }
  if (read?.format !== FORMAT || typeof read.text !== "string") throw wrong;
  if (read.migration > MIGRATION) {
    throw new Unreadable(say("{name} comes from a newer version of this page.", { name }));
  }
  const branches = readBranches(read.branches);
  if (!branches) throw wrong;
  return { values: { ...readCard(read), place: readPlace(read) }, text: read.text, branches };
}
