// Draws openapi.json as a page. Knows nothing of the routes themselves.

const description = await (await fetch(new URL("../openapi.json", import.meta.url))).json();

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function resolve(schema) {
  if (!schema?.$ref) return schema ?? {};
  return description.components.schemas[schema.$ref.split("/").pop()];
}

function typeOf(schema) {
  const found = resolve(schema);
  if (found.anyOf) return [...new Set(found.anyOf.map(typeOf))].join(" or ");
  if (found.type === "array") return `list of ${typeOf(found.items)}`;
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" or ");
  return Array.isArray(found.type) ? found.type.join(" or ") : found.type ?? "object";
}

function bounds(schema) {
  const found = [resolve(schema), ...(resolve(schema).anyOf ?? [])];
  const words = { minimum: "at least", exclusiveMinimum: "above", maximum: "at most", maxLength: "at most" };
  return found
    .flatMap((part) => Object.keys(words).filter((key) => key in part).map((key) => `${words[key]} ${part[key]}`))
    .join(", ");
}

function table(heads, rows) {
  const head = element("tr", "", ...heads.map((text) => element("th", "", text)));
  const body = rows.map((row) => element("tr", "", ...row.map((text) => element("td", "", text ?? ""))));
  const scroll = element("div", "scroll", element("table", "", element("thead", "", head), element("tbody", "", ...body)));
  // Wider than a phone: the arrow keys have to reach the rest.
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-label", heads.join(", "));
  return scroll;
}

function fields(schema) {
  const found = resolve(schema);
  const rows = Object.entries(found.properties ?? {}).map(([name, field]) => [
    name + (found.required?.includes(name) ? " *" : ""),
    typeOf(field),
    [resolve(field).description ?? field.description, bounds(field)].filter(Boolean).join("; "),
  ]);
  return rows.length ? table(["Field", "Type", "What it is"], rows) : "";
}

function curl(method, path, example) {
  const words = [`curl ${location.origin}${path}`];
  if (method !== "get" && method !== "post") words.push(`-X ${method.toUpperCase()}`);
  if (example) words.push(`-H 'content-type: application/json'`, `-d '${JSON.stringify(example)}'`);
  return words.join(" \\\n  ");
}

function operation(method, path, described) {
  const media = described.requestBody?.content?.["application/json"];
  const parts = [];
  const shown = path.replace(/\{(\w+)\}/g, (_, name) =>
    described.parameters?.find((parameter) => parameter.name === name)?.example ?? name);
  const examples = Object.values(media?.examples ?? { none: {} });
  parts.push(element("h3", "", "Try"));
  parts.push(...examples.map((each) => element("pre", "", curl(method, shown, each.value))));
  if (described.parameters) {
    const rows = described.parameters.map((each) => [each.name, `${each.in}, ${typeOf(each.schema)}`, each.description]);
    parts.push(element("h3", "", "Parameters"), table(["Name", "Where", "What it is"], rows));
  }
  if (media) parts.push(element("h3", "", "Body"), fields(media.schema));
  const ok = described.responses["200"]?.content?.["application/json"]?.schema;
  if (ok?.$ref) parts.push(element("h3", "", "Reply"), fields(ok));
  const rows = Object.entries(described.responses).map(([status, reply]) => [status, reply.description]);
  parts.push(element("h3", "", "Statuses"), table(["Status", "Meaning"], rows));
  return element(
    "details", "",
    element("summary", "",
      element("span", "method", method.toUpperCase()),
      element("span", "path", path),
      element("span", "gist", described.summary)),
    element("div", "body", ...parts),
  );
}

const groups = new Map();
for (const [path, methods] of Object.entries(description.paths)) {
  for (const [method, described] of Object.entries(methods)) {
    const name = described.tags[0];
    groups.set(name, [...(groups.get(name) ?? []), operation(method, path, described)]);
  }
}
document.getElementById("about").textContent = description.info.description;
const main = document.getElementById("operations");
for (const [name, operations] of groups) main.append(element("h2", "", name), ...operations);
