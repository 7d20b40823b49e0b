/** Puts the page together: views, writer, settings, and what to do when the service cannot. */

import { Announcer } from "./announcer.js";
import { Arrival } from "./arrival.js";
import { Certainty } from "./certainty.js";
import { Choices } from "./choices.js";
import { Comfort } from "./comfort/comfort.js";
import { Asking } from "./guidance/asking.js";
import { Guidance } from "./guidance/guidance.js";
import { Meter } from "./guidance/meter.js";
import { GuidancePanel } from "./guidance/panel.js";
import { say, translate } from "./language.js";
import { Keeping } from "./keeping.js";
import { AccessKey } from "./key.js";
import { showExamples, showFacts } from "./model.js";
import { Notice } from "./notice.js";
import { Paper } from "./paper.js";
import { keepInView, placeDock } from "./scroll.js";
import { Service } from "./service.js";
import { SettingsPanel } from "./settings-panel.js";
import { Settings } from "./settings.js";
import { Sharing } from "./sharing.js";
import { readDraft } from "./store/draft.js";
import "./theme-button.js";
import { Tools } from "./tools.js";
import { Troubles } from "./troubles.js";
import { languageWords } from "./words.js";
import { Writer } from "./writer.js";

const WAYS = 3;
const RANKED = 5;

const hasKeyboard = matchMedia("(hover: hover)");
const $ = (selector) => document.querySelector(selector);

translate(document.body);
const key = new AccessKey($("#key-dialog"));
const service = new Service(() => key.value);
const settings = new Settings($("#options"));
const guidance = new Guidance($("#guidance"));
const announcer = new Announcer($("#announce"));
const model = { name: null, digest: null, checkpoint: null, context: 0, ranked: 0, ways: WAYS, readsEndOnly: false };
/** What goes on after a stream that broke off. */
let resume = "continue";

const asking = new Asking(service, () => model);
const guidancePanel = new GuidancePanel($("#guidance"), guidance, (word) => asking.tokens(word));
const notice = new Notice($("#notice"), announcer);
const writer = new Writer(asking, requestOptions, readDraft()?.text ?? "");
const troubles = new Troubles(notice, service, key, {
  goOn() {
    writer.accept();
    acts[resume]();
  },
  useEnd() {
    model.readsEndOnly = true;
  },
  ready: adoptModel,
});

const acts = {
  type(text) {
    troubles.dismiss();
    writer.type(text);
  },
  continue: () => attempt("continue", () => writer.continue()),
  another: () => attempt("continue", () => writer.continue()),
  branch: () => attempt("branch", () => writer.branch(model.ways)),
  "keep-going": () => attempt("keep-going", () => writer.keepGoing()),
  accept: () => settle(() => writer.accept()),
  acceptWord: () => settle(() => writer.acceptWord()),
  drop: () => settle(() => writer.drop()),
  stop: () => settle(() => writer.stop()),
  undo: () => settle(() => writer.undo()),
  redo: () => settle(() => writer.redo()),
  choose(index) {
    settle(() => writer.choose(index));
    returnToText();
  },
  "what-if"() {
    const start = paper.wordStart;
    if (start === null) return;
    keeping.chronicle.settle();
    attempt("continue", () => writer.whatIf(start));
  },
  moved: () => tools.offer("what-if", paper.wordStart !== null),
  retell(token, other) {
    keeping.chronicle.settle();
    attempt("continue", () => writer.retell(token, other));
  },
  async share() {
    if (await share()) notice.show("hint", say("Link copied."));
  },
  async certainty() {
    await certainty.toggle();
    render();
  },
};

const paper = new Paper($("#editor"), writer, acts);
const keeping = new Keeping({
  writer,
  paper,
  settings: {
    get chosen() {
      return { ...settings.chosen, ...guidance.chosen };
    },
    restore(chosen) {
      settings.restore(chosen);
      guidance.restore(chosen);
    },
  },
  notice,
  service: asking,
  opener: $("#open-shelf"),
  context: () => ({ digest: model.digest, model: model.checkpoint }),
  onShow: draw,
  returnToText,
  mapOpener: $("#open-map"),
  link: (values) => sharing.shareWhole(values),
});
const certainty = new Certainty(
  { writer, service, model: () => model, attempt: (task) => troubles.attempt(task), drop: acts.drop, draw },
  {
    retell: acts.retell,
    whatIf(token) {
      keeping.chronicle.settle();
      attempt("continue", () => writer.whatIf(token.start));
    },
    leaning: (text) => guidance.leaning(text),
    lean: (text, step) => guidance.lean(text, step),
  },
);
const comfort = new Comfort({
  writer,
  paper,
  async showPaper() {
    if (certainty.isShown) await acts.certainty();
    draw();
  },
});
Object.assign(acts, comfort.acts);
const meter = new Meter($("#meter"), $("#reads-words"), service, (position) => {
  paper.forgottenBefore = position;
});
const choices = new Choices($("#choices"), acts.choose, () => {
  acts.drop();
  returnToText();
});
const tools = new Tools($("#tools"), acts);
const panel = new SettingsPanel($("#settings"), $("#open-settings"), $("#close-settings"));
const sharing = new Sharing($("#share"), $("#shared"), announcer, () => {
  keeping.closeMap();
  panel.open();
});

function requestOptions() {
  const options = { ...settings.options(), ...guidance.options() };
  if (model.name) options.model = model.name;
  if (model.ranked) options.logprobs = model.ranked;
  if (model.readsEndOnly) options.truncate_prompt = true;
  return options;
}

function attempt(name, task) {
  resume = name;
  return troubles.attempt(task);
}

/** To the text, or to the buttons where that would call up a keyboard on the screen. */
function returnToText() {
  draw();
  if (hasKeyboard.matches && !$("#editor").hidden) paper.focus();
  else tools.focus();
}

function share() {
  const { text } = writer.manuscript;
  return sharing.share({ ...guidance.chosen, ...(writer.recipe ?? { ...settings.options(), text }) });
}

function settle(act) {
  troubles.dismiss();
  act();
}

function adoptModel(facts) {
  model.name = facts.id;
  model.digest = facts.content_sha256 ?? null;
  model.context = facts.context_length;
  model.checkpoint = facts.checkpoint ?? facts.id;
  model.ranked = Math.min(RANKED, facts.limits?.logprobs ?? 0);
  model.ways = Math.min(WAYS, facts.limits?.texts ?? WAYS);
  settings.adopt(facts);
  guidancePanel.adopt(facts);
  showFacts(facts, $("#model"), $("#facts"));
  showExamples(facts.examples ?? [], $("#examples"), (text) => {
    acts.type("");
    writer.open(text);
    returnToText();
    acts.continue();
  });
  render();
}

let isDue = false;

/** Draws at most once a frame, however fast the tokens come. */
function render() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}

function draw() {
  const isEmpty = writer.manuscript.text === "";
  document.body.classList.toggle("is-empty", isEmpty);
  document.body.classList.toggle("has-choices", writer.choices !== null);
  for (const button of [$("#share"), $("[data-act=share]")]) button.disabled = isEmpty;
  paper.render(writer);
  const isCertain = certainty.render();
  meter.render({
    text: writer.manuscript.text,
    ...guidance.notes,
    context: model.context,
    length: settings.length,
  });
  comfort.render();
  choices.render(writer);
  tools.render(writer, { branch: model.ways > 1, another: !settings.seedIsFixed });
  if (writer.writing && !isCertain) {
    const justBegan = !writer.ghost?.text;
    keepInView(writer.choices ? $("#choices") : paper.end, $(".dock"), justBegan);
  }
}

let kept = writer.manuscript;
writer.addEventListener("change", () => {
  if (writer.manuscript.text !== kept.text) keeping.changed();
  kept = writer.manuscript;
  announcer.follow(writer);
  render();
});
writer.addEventListener("offered", () => keeping.changed());
$("#options").addEventListener("input", () => keeping.changed());
guidance.addEventListener("change", () => {
  keeping.changed();
  render();
});
writer.addEventListener("language", ({ detail }) => {
  $("#language").hidden = detail === null;
  $("#language").dataset.code = detail ?? "en";
  $("#language").textContent = detail === null ? "" : languageWords(detail);
});
$("#share").addEventListener("click", share);

async function start() {
  try {
    await troubles.load();
  } catch (error) {
    if (!error.kind) throw error;
    if (error.kind === "key") troubles.wantKey();
    else if (error.kind === "starting" || error.kind === "unreachable") {
      troubles.awaitModel(error.kind, null);
    } else troubles.attempt(() => {});
  }
}

// Escape means the same wherever the focus is.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || $("#key-dialog").open) return;
  if (writer.writing || writer.ghost || writer.choices) acts.stop();
});
placeDock($(".dock"));
// A notice makes the dock higher: the end of the text moves up with it.
new ResizeObserver(() => keepInView(paper.end, $(".dock"), false)).observe($(".dock"));
const arrival = new Arrival({
  writer,
  settings,
  guidance,
  keeping,
  hint: (words) => troubles.hint(words),
});
const isLinked = arrival.followLink();
draw();
paper.place = readDraft()?.place ?? 0;
const isOpen = keeping.start(() => isLinked);
// Whoever has a keyboard types at once; on an empty page Tab still moves on.
if (hasKeyboard.matches && document.activeElement === document.body) {
  paper.focus(readDraft()?.place);
}
arrival.followTree(Promise.allSettled([isOpen, start()]));
isOpen.then(() => comfort.teach(hasKeyboard.matches));
