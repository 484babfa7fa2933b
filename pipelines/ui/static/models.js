// Published models: their versions, who is champion and who challenges.

import { card, digest, enc, get, h, number, pairs, short, table, when } from "./dom.js";

const ORDER = { champion: 0, challenger: 1 };
const alias = (name) => h("span", { class: `pill ${name === "champion" ? "ok" : name === "challenger" ? "run" : ""}` }, name);

export async function models() {
  const found = await get("/api/models");
  if (!found.length) {
    return { title: "Models", node: card("Nothing is published here", h("p", {}, "A run publishes its engine to the registry beside it; ", h("code", {}, "aerodet ui --registry DIR"), " shows another one.")) };
  }
  const node = h("div", {}, found.map((model) => h("section", { class: "card" }, h("h2", {}, model.name), h("p", { class: "remark" }, model.registry), standing(model),
    table(["version", "stands as", "published", "AP50, %", "batch, ms", "run", "digest"], model.versions.map((version) => [
      h("a", { href: `#/model/${enc(model.name)}/${version.version}` }, `version ${version.version}`),
      h("span", { class: "links" }, names(version).map(alias)),
      when(version.created), percent(version.metrics.ap50), figure(version.metrics.median_ms), version.run ? h("a", { href: `#/run/${enc(version.run)}` }, version.run) : "–", h("code", {}, short(version.digest))]),
    { label: `Versions of ${model.name}`, numeric: [3, 4] }))));
  return { title: "Models", kicker: "Published, whole or not at all", node };
}

/** What a version stands as: its stage, and the other names that point at it. */
const names = (version) => [version.stage, ...version.aliases.filter((name) => name !== version.stage)];

/** What the gate said of a version, rule by rule. */
function verdicts(gate) {
  const pill = { passed: "ok", failed: "error", skipped: "" };
  return card("Gate", h("p", { class: "remark" }, gate.passed ? "No rule failed." : "A rule failed, so it was not promoted."),
    table(["rule", "verdict", "why"], gate.rules.map((rule) => [rule.name, h("span", { class: `pill ${pill[rule.verdict]}` }, rule.verdict), rule.sentence]), { label: "Rules of the gate" }));
}

const percent = (value) => (value == null ? "–" : value.toFixed(1));
const figure = (value) => (value == null ? "–" : number(value));

/** Champion and challenger side by side; a newest version that was archived or is the champion challenges nobody. */
function standing(model) {
  const held = model.versions.flatMap((version) => version.aliases.filter((name) => name in ORDER && name === version.stage).map((name) => ({ name, version })));
  held.sort((a, b) => ORDER[a.name] - ORDER[b.name]);
  return held.length > 0 && h("ul", { class: "tiles standing" }, held.map(({ name, version }) => h("li", {}, alias(name), h("strong", {}, percent(version.metrics.ap50), version.metrics.ap50 != null && h("small", {}, "% AP50")), h("a", { href: `#/model/${enc(model.name)}/${version.version}` }, `version ${version.version}`))));
}

export async function model([name, number_]) {
  const found = await get(`/api/models/${enc(name)}/${enc(number_)}`);
  const near = Object.entries(found.digests).filter(([what]) => !what.startsWith("upstream.")); // the lineage has the rest
  const from = near.map(([what, sha]) => [what, h("span", { class: "links" }, h("a", { href: `#/artifact/${sha}` }, h("code", {}, short(sha))), h("a", { href: `#/lineage/${sha}` }, "lineage"))]);
  const node = h("div", {},
    h("div", { class: "facts" }, names(found).map(alias), h("span", {}, "published ", when(found.created)), h("span", { class: "push" }), found.digests.bundle && h("a", { class: "button", href: `#/lineage/${found.digests.bundle}` }, "Lineage")),
    h("div", { class: "columns" },
      card("Measured", pairs(Object.entries(found.metrics))),
      card("Made from", pairs([...from, ["run", found.run ? h("a", { href: `#/run/${enc(found.run)}` }, found.run) : "–"], ["address", h("code", {}, found.uri)], ["digest", digest(found.digest)]]))),
    found.gate && verdicts(found.gate),
    card("Files", table(["file", "SHA-256"], Object.entries(found.files).map(([path, sha]) => [path, h("code", { class: "hash" }, sha)]), { label: "Files" })),
    h("details", { class: "card" }, h("summary", {}, "Everything recorded"), pairs(found.tags)));
  return { title: `${name}, version ${number_}`, kicker: h("a", { href: "#/models" }, "Models"), node };
}
