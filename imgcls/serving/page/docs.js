// Shows the description of the API that the server gives as openapi.json.
"use strict";

const element = (id) => document.getElementById(id);

function make(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(heads, rows) {
  const made = make("table");
  const head = made.createTHead().insertRow();
  for (const each of heads) head.append(make("th", each));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const each of row) line.insertCell().textContent = each;
  }
  return made;
}

function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.oneOf) return schema.oneOf.map(kind).join(" or ");
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  return schema.enum ? schema.enum.join(", ") : [schema.type, schema.format].filter(Boolean).join(" ");
}

function operation(path, method, told) {
  const made = make("details", undefined, "operation");
  const summary = make("summary");
  summary.append(make("span", method.toUpperCase(), "method"), make("code", path), make("span", told.summary, "what"));
  const inside = make("div", undefined, "inside");
  if (told.description !== told.summary) inside.append(make("p", told.description));
  if (told.parameters?.length) {
    const rows = told.parameters.map((each) => [each.name, each.in, kind(each.schema), each.description ?? ""]);
    inside.append(make("h3", "Parameters"), table(["Name", "In", "Kind", "Meaning"], rows));
  }
  const contents = Object.entries(told.requestBody?.content ?? {});
  if (contents.length) {
    const rows = contents.map(([type, content]) => [
      type,
      Object.entries(content.schema.properties ?? {}).map(([name, each]) => `${name} (${kind(each)})`).join(", ")
        || kind(content.schema),
    ]);
    inside.append(make("h3", "Request"), table(["Content type", "Content"], rows));
  }
  const rows = Object.entries(told.responses).map(([status, each]) => [
    status,
    kind(Object.values(each.content ?? {})[0]?.schema),
    each.description,
  ]);
  inside.append(make("h3", "Responses"), table(["Status", "Content", "Meaning"], rows));
  made.append(summary, inside);
  return made;
}

function schemas(all) {
  return Object.entries(all).filter(([, each]) => each.properties).map(([name, each]) => {
    const made = make("details", undefined, "operation");
    const summary = make("summary");
    summary.append(make("code", name));
    const inside = make("div", undefined, "inside");
    const rows = Object.entries(each.properties).map(([key, value]) => [key, kind(value), value.description ?? ""]);
    inside.append(table(["Key", "Kind", "Meaning"], rows));
    made.append(summary, inside);
    return made;
  });
}

async function load() {
  const token = sessionStorage.getItem("imgcls-token");
  const response = await fetch("openapi.json", { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  element("token-form").hidden = response.status !== 401;
  if (!response.ok) return;
  const api = await response.json();
  element("version").textContent = `version ${api.info.version}`;
  element("description").replaceChildren(...api.info.description.split("\n\n").map((text) => make("p", text)));
  const address = new URL("v1/predict", location.href);
  element("curl").textContent = `curl --data-binary @photo.jpg ${address}`;
  const made = [];
  for (const tag of api.tags) {
    made.push(make("h2", tag.name), make("p", tag.description, "note"));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, told] of Object.entries(methods)) {
        if (told.tags?.includes(tag.name)) made.push(operation(path, method, told));
      }
    }
  }
  element("operations").replaceChildren(...made, make("h2", "objects"), ...schemas(api.components.schemas));
}

element("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("imgcls-token", element("token").value.trim());
  load();
});
load().finally(() => { document.documentElement.dataset.ready = "true"; });
