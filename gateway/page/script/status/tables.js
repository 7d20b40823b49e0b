/** Models, keys and errors as tables. */

import { make } from "../dom.js";
import { number, say } from "../language.js";


/**
 * @param acts `scale(model, version, count)` and `makeDefault(model, version)`
 * @returns {HTMLElement[]}
 */
export function modelsOf({ models, replicas_limit: most }, acts) {
  return models.map(({ name, versions }) =>
    make("article.model-card", {}, make("h3", {}, name), ...versions.map((version) => versionOf(name, version, versions.length, most, acts))),
  );
}

function versionOf(model, { version, is_default: isDefault, replicas, ...about }, versions, most, acts) {
  const label = say("Version {version}", { version });
  const facts = [
    about.checkpoint,
    about.precision,
    about.context_length && say("reads {n} tokens", { n: number(about.context_length) }),
    about.content_sha256?.slice(0, 12),
  ].filter(Boolean);
  const count = make("input", {
    type: "number",
    min: 0,
    max: most,
    value: replicas.length,
    "aria-label": say("Replicas of {model}, version {version}", { model, version }),
  });
  const change = () => acts.scale(model, version, Number(count.value), replicas.length);
  const head = make("div.version-head", {}, make("b", {}, label));
  if (isDefault) head.append(make("span.badge", {}, say("serves")));
  else if (versions > 1) {
    head.append(make("button", { click: () => acts.makeDefault(model, version) }, say("Have it serve")));
  }
  return make(
    "div.version",
    { dataset: { version } },
    head,
    make("p.quiet", {}, facts.join(" · ")),
    make(
      "ul.replicas",
      {},
      ...replicas.map((each) =>
        make("li", { dataset: { state: each.state } }, `${each.name}: ${stateWords(each.state)}, `, say("{n} sequences", { n: each.sequences })),
      ),
    ),
    make("div.scale", {}, make("label", {}, say("Replicas"), " ", count), make("button", { click: change }, say("Change"))),
  );
}

function stateWords(state) {
  const words = {
    READY: say("ready"),
    STARTING: say("starting"),
    DRAINING: say("ending its work"),
    LOST: say("lost, coming back"),
  };
  return words[state] ?? state;
}

export function keysOf({ keys, requests_per_minute: rate }) {
  const about = rate ? say("{n} requests per minute for each key.", { n: number(rate) }) : say("No limit of requests per minute.");
  if (!keys.length) return [make("p.quiet", {}, say("The service is open to all: there are no keys."), " ", about)];
  const heads = [say("Key"), say("Share"), say("Priority"), say("Tokens per minute"), say("Tokens per day")];
  const left = (limit, rest) => (limit ? say("{left} of {n} left", { left: number(rest ?? limit), n: number(limit) }) : "–");
  const rows = keys.map((key) => [
    key.name,
    number(key.weight),
    number(key.priority),
    left(key.tokens_per_minute, key.left.minute),
    left(key.tokens_per_day, key.left.day),
  ]);
  return [tableOf(heads, rows), make("p.quiet", {}, about)];
}

export function errorsOf({ errors }) {
  if (!errors.length) return [make("p.quiet", {}, say("None since the start."))];
  const { lang } = document.documentElement;
  const heads = [say("When"), say("Route"), say("Status"), say("What"), say("Key"), say("Request")];
  const rows = errors.map((error) => [
    new Date(error.time * 1000).toLocaleString(lang),
    error.route ?? "",
    String(error.status ?? ""),
    error.error ?? "",
    error.key ?? "",
    error.request_id ?? "",
  ]);
  return [tableOf(heads, rows)];
}

function tableOf(heads, rows) {
  const head = make("tr", {}, ...heads.map((words) => make("th", { scope: "col" }, words)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((words) => make("td", {}, words))));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
  // Scrolls by itself on a phone, with the keyboard too.
  return make("div.table", { tabindex: 0, role: "region", "aria-label": heads.join(", ") }, table);
}
