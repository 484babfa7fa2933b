// The list of artifacts, one artifact, and the lineage around it.

import { bytes, card, digest, enc, get, h, pairs, seconds, short, table, when } from "./dom.js";
import { drawGraph } from "./graph.js";
import { drawSections, pictures } from "./sections.js";

export async function artifacts(_, query) {
  const text = query.get("text") ?? "", kind = query.get("kind") ?? "";
  const found = await get(`/api/artifacts?text=${enc(text)}&kind=${enc(kind)}`);
  const address = (wanted) => `#/artifacts?${new URLSearchParams({ ...(text && { text }), ...(wanted && { kind: wanted }) })}`;
  const every = Object.values(found.kinds).reduce((a, b) => a + b, 0);
  const choices = h("nav", { class: "chips", "aria-label": "Kinds" }, [["", `all ${every}`], ...Object.entries(found.kinds).map(([name, count]) => [name, `${name} ${count}`])].map(([name, shown]) => h("a", { href: address(name), "aria-current": name === kind ? "true" : null }, shown)));
  const rows = found.artifacts.map((row) => [h("a", { href: `#/artifact/${row.digest}` }, h("code", {}, short(row.digest))), row.kind, row.label, row.run ? h("a", { href: `#/run/${enc(row.run)}` }, row.run) : h("span", { class: "quiet uri" }, row.uri), when(row.started), seconds(row.seconds)]);
  const node = h("div", {}, choices, h("section", { class: "card" },
    rows.length ? table(["digest", "kind", "made by", "in", "when", "took"], rows, { label: "Artifacts", numeric: [5] }) : h("p", {}, text ? `Nothing here matches “${text}”.` : "No artifacts here."),
    found.total > rows.length && h("p", { class: "remark" }, `The newest ${rows.length} of ${found.total}; a word in the field above narrows them.`)));
  return { title: text ? `Artifacts with “${text}”` : "Artifacts", node };
}

export async function artifact([id]) {
  const [found, sections] = await Promise.all([get(`/api/artifacts/${id}`), get(`/api/artifacts/${id}/sections`).catch((error) => [{ type: "note", title: "Preview", text: error.message }])]);
  const page = await get(`/api/artifacts/${id}/pictures`).catch((error) => ({ error: error.message }));
  const code = found.code.commit ? `${found.code.version} (${found.code.commit.slice(0, 7)}${found.code.dirty ? ", modified" : ""})` : found.code.version;
  const made = h("section", { class: "card" }, h("h2", {}, "Made"), pairs([
    ["by", found.label], ["in run", found.run ? h("a", { href: `#/run/${enc(found.run)}` }, found.run) : "–"], ["when", when(found.started)], ["took", seconds(found.seconds)],
    ["aerodet", code], ["image", found.image ?? "none, on a machine"], ["hardware", Object.entries(found.hardware).map(([k, v]) => `${k} ${v}`).join(", ")],
    ["digest", digest(found.digest)], ["lies in", h("span", { class: "stack" }, found.copies.map((copy) => h("span", {}, copy.uri)))],
  ]));
  const links = h("section", { class: "card" }, h("h2", {}, "Lineage"), h("h3", {}, "Made from"), references(found.inputs, "Nothing: it is a root."), h("h3", {}, "Used for"), references(found.uses, "Nothing yet."), h("p", {}, h("a", { class: "button", href: `#/lineage/${id}` }, "Whole lineage")));
  const files = found.files.map((file) => [h("a", { href: `/api/artifacts/${id}/files/${file.path.split("/").map(enc).join("/")}`, download: file.path.split("/").pop() }, file.path), bytes(file.bytes), file.sha256 ? h("code", { class: "hash" }, file.sha256) : "–"]);
  const node = h("div", {},
    sections.filter((section) => section.type === "tiles").flatMap((section) => drawSections(id, [section])),
    h("div", { class: "columns" }, made, links),
    page?.items?.length ? pictures(id, page) : page?.error && card("Pictures", h("p", { class: "remark" }, page.error)),
    drawSections(id, sections.filter((section) => section.type !== "tiles")),
    card("Files", table(["file", "size", "SHA-256"], files, { label: "Files", numeric: [1] })),
    details("Parameters", found.parameters), details("Libraries", found.libraries), details("What the stage says of it", found.annotations),
    await others(found));
  return { title: name(found), kicker: h("code", {}, short(found.digest)), node };
}

const name = (row) => (row.kind === row.label ? row.kind : `${row.kind} · ${row.label}`);

const details = (title, values) => Object.keys(values).length > 0 && h("details", { class: "card" }, h("summary", {}, title), pairs(Object.entries(values).map(([name, value]) => [name, typeof value === "string" && value.includes("\n") ? h("pre", { tabindex: "0", "aria-label": name }, value) : typeof value === "object" ? JSON.stringify(value) : value])));

const references = (list, none) => (list.length ? h("ul", { class: "references" }, list.map((entry) => h("li", {}, h("span", { class: "quiet" }, entry.as), entry.missing ? h("span", { class: "missing", title: entry.uri }, `not at hand, ${short(entry.digest)}`) : h("a", { href: `#/artifact/${entry.digest}` }, name(entry))))) : h("p", { class: "quiet" }, none));

async function others(found) {
  const same = (await get(`/api/artifacts?kind=${enc(found.kind)}`)).artifacts.filter((row) => row.digest !== found.digest && row.stage === found.stage).slice(0, 100);
  if (!same.length) return null;
  const choice = h("select", { id: "other" }, h("option", { value: "" }, "choose…"), same.map((row) => h("option", { value: row.digest }, `${row.label}, ${row.run ?? row.uri}, ${short(row.digest)}`)));
  choice.addEventListener("change", () => { if (choice.value) location.hash = `#/compare/${found.digest}/${choice.value}`; });
  return card("Compare", h("label", { class: "field", for: "other" }, "What differs from ", choice));
}

export async function lineage([id], query) {
  const direction = query.get("direction") ?? "both";
  const found = await get(`/api/lineage/${id}?direction=${enc(direction)}`);
  const nodes = found.nodes.map((node) => ({
    id: node.digest,
    label: node.missing ? node.label || "unknown" : node.label,
    lines: [node.missing ? "not at hand" : `${node.kind} ${node.digest.slice(0, 8)}`],
    look: `${node.missing ? "missing" : `kind-${KINDS.has(node.kind) ? node.kind : "other"}`}${node.digest === id ? " start" : ""}`,
    href: node.missing ? `#/lineage/${node.digest}` : `#/artifact/${node.digest}`,
    title: node.missing ? `${node.label || "something"}, no provenance at hand, ${short(node.digest)}, was ${node.uri || "nowhere told"}` : `${node.kind} made by ${node.label}${node.run ? ` in ${node.run}` : ""}, ${short(node.digest)}${node.digest === id ? ", the start" : ""}`,
  }));
  const start = found.nodes.find((node) => node.digest === id);
  const choices = h("nav", { class: "chips", "aria-label": "Direction" }, [["both", "both ways"], ["up", "made from"], ["down", "used for"]].map(([name, shown]) => h("a", { href: `#/lineage/${id}?direction=${name}`, "aria-current": name === direction ? "true" : null }, shown)));
  const rows = found.nodes.filter((node) => node.distance < 0 || node.digest === id).map((node) => [
    node.missing ? h("span", { class: "missing" }, node.label || "unknown") : h("a", { href: `#/artifact/${node.digest}` }, node.label), node.kind ?? "not at hand", node.started ? when(node.started) : "–", h("code", { class: "hash" }, node.digest)]);
  const node = h("div", {}, choices,
    found.circular.length > 0 && h("p", { class: "alert" }, `${found.circular.length} artifacts are made from themselves by a detour, so some provenance among them lies: ${found.circular.slice(0, 5).map(short).join(", ")}`),
    h("section", { class: "card" }, drawGraph(nodes, found.edges, `Lineage of ${start?.label ?? short(id)}`), h("ul", { class: "legend" }, [["coco", "images"], ["checkpoint", "checkpoint"], ["engine", "export"], ["evaluation", "measurement"], ["other", "other"], ["missing", "not at hand"]].map(([look, text]) => h("li", {}, h("span", { class: `swatch ${look === "missing" ? look : `kind-${look}`}` }), text))),
      found.hidden > 0 && h("p", { class: "remark" }, `${found.hidden} more are too far away to be drawn; aerodet lineage lists them.`)),
    direction !== "down" && card("Made from, with digests", table(["made by", "kind", "when", "SHA-256 of the folder"], rows, { label: "What it was made from" })));
  return { title: `Lineage of ${start?.missing === false ? name(start) : short(id)}`, kicker: start?.missing === false ? h("a", { href: `#/artifact/${id}` }, "The artifact") : "", node };
}

const KINDS = new Set(["coco", "checkpoint", "engine", "onnx", "evaluation", "benchmark"]);
