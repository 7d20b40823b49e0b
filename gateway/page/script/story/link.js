/**
 * A whole tree as a link. All of it is in the part behind `#`, which no server sees. A small tree
 * carries its texts; of a larger one the model's words are left out, and asked for again by their
 * seeds from the model that wrote them.
 */

import { say } from "../language.js";
import { readBranches, readCard, readMade } from "../shelf/checked.js";
import { join } from "./splice.js";
import { Story } from "./story.js";

/** What mail and messengers still pass on as one link. */
export const limits = { characters: 8000 };

/** @returns {Promise<{fields, words}>} `fields` of the link, or null: it would be too long */
export async function packStory(card, story) {
  const path = story.path(story.current).map(({ id }) => id);
  const whole = await pack(card, story, story.all);
  if (whole.length <= limits.characters) {
    return { fields: { story: whole }, words: say("The link holds all texts of the tree.") };
  }
  const seeds = await pack(
    card,
    story,
    story.all.map((branch) => {
      const canBeHad = branch.by === "model" && path.includes(branch.id) && branch.made?.digest;
      return canBeHad ? { ...branch, added: null, length: branch.added.length } : branch;
    }).filter(({ id }) => path.includes(id)),
  );
  if (seeds.length <= limits.characters) {
    const words = say("The tree is large: the link holds your words and the seeds of the model's.");
    return { fields: { story: seeds }, words };
  }
  return { fields: null, words: say("The tree is too large for a link: export it with its tree.") };
}

async function pack({ title, settings }, { current }, branches) {
  const slim = branches.map(({ tokens: _, time: __, ...branch }) => branch);
  const bytes = new TextEncoder().encode(JSON.stringify({ title, settings, current, branches: slim }));
  const packed = await through(bytes, new CompressionStream("deflate-raw"));
  return toBase64(packed);
}

/** A link that cannot be opened; `words` say why. */
class BadLink extends Error {
  constructor(words) {
    super(words);
    this.words = words;
  }
}

const damaged = () => new BadLink(say("This link is damaged: a part of it is missing."));

/**
 * @param packed what `packStory` made
 * @param parts `service`, to ask for what the link holds the seeds of, and `context()`
 * @returns {Promise<{values, text, branches, words}>} throws BadLink
 */
export async function unpackStory(packed, { service, context }) {
  let read;
  try {
    const bytes = await through(fromBase64(packed), new DecompressionStream("deflate-raw"));
    read = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw damaged();
  }
  if (!Array.isArray(read?.branches)) throw damaged();
  const seeds = read.branches.filter((branch) => branch?.added === null);
  if (seeds.some(({ made }) => !readMade(made))) throw damaged();
  if (seeds.length) await replay(read.branches, service);
  const branches = readBranches(read.branches);
  if (!branches?.length) throw damaged();
  const story = new Story(branches, read.current);
  const { digest } = context();
  const other = branches.find(({ made }) => made?.digest && digest && made.digest !== digest);
  const words = other
    ? say("This came with a link. Another model wrote it ({model}): the same seeds give different words here.", {
        model: other.made.model ?? say("unknown"),
      }) + (seeds.length ? ` ${say("What follows your words is this model's.")}` : "")
    : say("This text came with a link, and its tree with it.");
  const values = { ...readCard(read), current: story.current };
  return { values, text: story.textOf(story.current), branches, words };
}

/** Asks the model again for the words that a link holds the seeds of; parents come first. */
async function replay(branches, service) {
  const texts = new Map([[null, ""]]);
  for (const branch of branches) {
    const before = texts.get(branch?.parent) ?? "";
    if (branch?.added === null) {
      const { seed, settings, n, index } = branch.made;
      const request = { ...settings, seed, n, prompt: before.slice(0, branch.keep) };
      let words = "";
      for await (const part of service.complete(request, new AbortController().signal)) {
        if (part.index === index) words += part.text;
      }
      branch.added = words.slice(0, branch.length);
    }
    if (branch) texts.set(branch.id, join(before, branch));
  }
}

async function through(bytes, stream) {
  const piped = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

function toBase64(bytes) {
  let letters = "";
  for (const byte of bytes) letters += String.fromCharCode(byte);
  return btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function fromBase64(text) {
  const letters = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
}
