/** The operator's page: asks each two seconds, shows what there is, changes what is confirmed. */

import { say, translate } from "../language.js";
import "../theme-button.js";
import { Gauges } from "./gauges.js";
import { GAUGES, readMetrics } from "./metrics.js";
import { Operator } from "./operator.js";
import { errorsOf, keysOf, modelsOf } from "./tables.js";

const EVERY_MS = 2000;
const $ = (selector) => document.querySelector(selector);

translate(document.body);
const operator = new Operator();
const gauges = new Gauges($("#gauges"));
let last = null;
/** What the tables show; drawn anew only when it changes, so that nothing moves under a finger. */
let shown = "";
let timer = null;

async function look() {
  clearTimeout(timer);
  try {
    const [facts, text] = await Promise.all([operator.facts(), operator.metrics()]);
    draw(facts, readMetrics(text), performance.now());
    timer = setTimeout(look, EVERY_MS);
  } catch (error) {
    if (error.status === undefined) throw error;
    meet(error);
  }
}

function draw(facts, metrics, at) {
  $("#key-form").hidden = true;
  $("#facts").hidden = false;
  const began = new Date(facts.began * 1000).toLocaleString(document.documentElement.lang);
  const state = facts.ready ? say("Ready, up since {time}.", { time: began }) : say("Not ready, up since {time}.", { time: began });
  if (!$("#state").dataset.said) $("#state").textContent = state;
  const both = { now: metrics, before: last?.metrics, seconds: last && (at - last.at) / 1000 };
  gauges.add(Object.fromEntries(Object.entries(GAUGES).map(([name, read]) => [name, read(both)])));
  last = { metrics, at };
  const now = JSON.stringify([facts.models, facts.keys, facts.errors]);
  // A number that somebody is changing is not put back while they do.
  if (now === shown || $("#models").contains(document.activeElement)) return;
  shown = now;
  $("#models").replaceChildren(...modelsOf(facts, { scale, makeDefault }));
  $("#keys").replaceChildren(...keysOf(facts));
  $("#errors").replaceChildren(...errorsOf(facts));
}

function meet({ status, message }) {
  if (status === 401) {
    const isWrong = operator.hasKey;
    operator.useKey(null);
    tell(isWrong ? say("The service did not accept that key.") : say("This page needs the management key."));
    $("#key-form").hidden = false;
    $("#facts").hidden = true;
    $("#key").focus();
    return;
  }
  if (status === 403) return tell(say("Management is disabled: start the service with MANAGEMENT_KEY."));
  tell(status === 0 ? say("The service does not answer.") : message);
  timer = setTimeout(look, EVERY_MS);
}

let quiet = null;

/** Says something that stays until the next state has been there for a while. */
function tell(words) {
  $("#state").textContent = words;
  $("#state").dataset.said = "yes";
  clearTimeout(quiet);
  quiet = setTimeout(() => delete $("#state").dataset.said, 4 * EVERY_MS);
}

function scale(model, version, count, now) {
  if (!Number.isSafeInteger(count) || count < 0 || count === now) return;
  const words =
    count === 0
      ? say("Remove all replicas of {model}, version {version}? It will then answer no requests.", { model, version })
      : say("Change {model}, version {version}, from {now} to {n} replicas? Each holds its own copy of the model.", { model, version, now, n: count });
  change(words, () => operator.scale(model, version, count));
}

function makeDefault(model, version) {
  const words = say("Make version {version} the default for requests to {model} that name no version?", { model, version });
  change(words, () => operator.makeDefault(model, version));
}

/** Does something once it is confirmed, and says what came of it. */
async function change(words, act) {
  if (!(await confirm(words))) return;
  document.activeElement?.blur();
  try {
    tell(await act());
  } catch (error) {
    if (error.status === undefined) throw error;
    tell(error.message || say("The service does not answer."));
  }
  shown = "";
  look();
}

function confirm(words) {
  const dialog = $("#confirm");
  $("#confirm-words").textContent = words;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

$("#key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  operator.useKey($("#key").value.trim());
  $("#key").value = "";
  delete $("#state").dataset.said;
  look();
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.visibilityState === "visible") look();
});
look();
