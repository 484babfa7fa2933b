// The few helpers that every view uses. Text from elsewhere only ever becomes a text node or an attribute value.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: h("a", {href, class, onclick}, ...children). Children are nodes, text, or nothing. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** Make an SVG element. */
export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false) node.append(child);
  }
  return node;
}

/** Fetch JSON from the server; a refusal becomes an Error with the server's sentence. */
export async function get(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  const content = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(content.error ?? `the server answered ${answer.status}`);
  return content;
}

export const enc = encodeURIComponent;

export const short = (digest) => digest.slice(0, 12);

/** A whole digest with a button that copies it. */
export function digest(text) {
  const button = h("button", { class: "copy", type: "button", "aria-label": "Copy the digest", title: "Copy" }, "copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      say("Digest copied");
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(button.previousSibling); // no permission: it is selected, ready to be copied
      say("Digest selected");
      button.textContent = "selected";
    }
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
  return h("span", { class: "digest" }, h("code", {}, text), button);
}

/** Tell a screen reader. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

const STATES = {
  SUCCEEDED: ["ok", "succeeded"], FAILED: ["error", "failed"], STOPPED: ["warning", "stopped"], RUNNING: ["run", "running"],
  PENDING: ["", "waiting"], UNREADABLE: ["error", "unreadable"],
};

export function state(name) {
  const [look, text] = STATES[name] ?? ["", String(name).toLowerCase()];
  return h("span", { class: `pill ${look}` }, text);
}

export const stateText = (name) => (STATES[name] ?? ["", String(name).toLowerCase()])[1];

export function number(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return value ?? "–";
  if (Number.isInteger(value)) return Math.abs(value) >= 10000 ? value.toLocaleString("en-GB") : String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return value.toFixed(size >= 100 ? 1 : size >= 1 ? 2 : 4);
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(value % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function when(text) {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime())) return h("span", {}, text ?? "–");
  const shown = moment.toLocaleString("en-GB", { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  return h("time", { datetime: text, title: moment.toISOString() }, shown);
}

/** A titled card. */
export function card(title, ...children) {
  return h("section", { class: "card" }, title && h("h2", {}, title), ...children);
}

/** Rows of what and value. */
export function pairs(rows) {
  return h("dl", { class: "pairs" }, rows.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, typeof value === "string" || typeof value === "number" || typeof value === "boolean" || value === null ? String(number(value)) : value))));
}

/** A table; on a narrow screen each row becomes a block with its headings, so nothing is cut off. */
export function table(heads, rows, { label, numeric = [] } = {}) {
  const cell = (value, index) => h(index === 0 ? "th" : "td", { scope: index === 0 ? "row" : null, class: numeric.includes(index) ? "n" : null, "data-head": heads[index] }, value instanceof Node || Array.isArray(value) ? value : String(number(value)));
  return h("div", { class: "scroll" }, h("table", { "aria-label": label },
    h("thead", {}, h("tr", {}, heads.map((head, i) => h("th", { scope: "col", class: numeric.includes(i) ? "n" : null }, head)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
}

export function tiles(list) {
  return h("ul", { class: "tiles" }, list.filter(Boolean).map(({ label, value, unit, note }) =>
    h("li", {}, h("strong", {}, typeof value === "number" ? number(value) : value, unit && h("small", {}, unit)), h("span", {}, label), note && h("span", { class: "quiet" }, note))));
}
