// The list of runs, and one run: its graph, its stages in time, its results.

import { card, digest, enc, get, h, number, pairs, seconds, short, state, stateText, table, tiles, when } from "./dom.js";
import { drawGraph } from "./graph.js";

const ap = (results, ...path) => {
  let value = results;
  for (const key of path) value = value?.[key];
  return typeof value === "number" ? value.toFixed(1) : "–";
};

export async function runs() {
  const rows = await get("/api/runs");
  if (!rows.length) {
    return { title: "Runs", node: card("No runs yet", h("p", {}, "Make one with ", h("code", {}, "aerodet run"), "; it shows here while it goes on.")) };
  }
  const chosen = new Set();
  const compare = h("a", { class: "button", hidden: true }, "Compare their engines");
  const pick = (row) => {
    const box = h("input", { type: "checkbox", "aria-label": `Choose ${row.id} to compare`, disabled: !row.main });
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(row.main); else chosen.delete(row.main);
      compare.hidden = chosen.size !== 2;
      compare.href = `#/compare/${[...chosen].join("/")}`;
    });
    return box;
  };
  const shown = rows.map((row) => [
    h("a", { href: `#/run/${enc(row.id)}` }, row.name ?? row.id),
    row.error ? [state(row.state), h("span", { class: "remark" }, ` ${row.error}`)] : state(row.state),
    row.started ? when(row.started) : "–",
    seconds(row.seconds),
    row.stages ? progress(row.done, row.stages) : "–",
    ap(row.results, "arms", "real", "ap50"), ap(row.results, "arms", "synthetic", "ap50"), ap(row.results, "arms", "finetune", "ap50"), ap(row.results, "int8", "ap50"),
    pick(row),
  ]);
  const heads = ["run", "state", "started", "time", "stages", "real", "synthetic", "fine-tuned", "INT8", "compare"];
  const list = h("section", { class: "card" },
    h("div", { class: "tools" }, h("p", { class: "remark" }, "Figures are AP50 on the test set, in percent. Choose two runs to compare their engines."), h("span", { class: "push" }), compare),
    table(heads, shown, { label: "Runs", numeric: [3, 5, 6, 7, 8] }));
  const refresh = rows.some((row) => row.state === "RUNNING") ? 4000 : undefined;
  return { title: "Runs", node: list, refresh: chosen.size ? undefined : refresh, key: JSON.stringify(rows) };
}

const progress = (done, all) => h("span", { class: "progress", title: `${done} of ${all} stages` }, h("span", { class: "meter" }, h("span", { style: { width: `${(100 * done) / Math.max(all, 1)}%` } })), ` ${done}/${all}`);

const LOOK = { SUCCEEDED: "ok", FAILED: "error", STOPPED: "warning", RUNNING: "run", PENDING: "pending" };

export async function run([id]) {
  const found = await get(`/api/runs/${enc(id)}`);
  const results = found.results;
  const nodes = found.stages.map((stage) => {
    const line = stage.state === "SUCCEEDED" ? `${seconds(stage.seconds)}${stage.kept ? ", kept" : ""}` : stage.progress ? `${stage.progress.done} of ${stage.progress.total}` : stateText(stage.state);
    const first = stage.outputs.find((output) => output.digest);
    return { id: stage.name, label: stage.name, lines: [line], look: LOOK[stage.state], href: first ? `#/artifact/${first.digest}` : found.logs ? `#/log/${enc(id)}/${enc(stage.name)}` : `#/run/${enc(id)}`, title: `${stage.name}, ${stateText(stage.state)}, ${line}` };
  });
  const failed = found.stages.filter((stage) => stage.error);
  const node = h("div", {},
    h("div", { class: "facts" }, state(found.state), found.started && h("span", {}, "started ", when(found.started)), h("span", {}, `took ${seconds(found.seconds)}`), h("span", {}, `${found.done} of ${found.stages.length} stages`),
      h("span", { class: "push" }),
      found.report && h("a", { class: "button", href: `/api/runs/${enc(id)}/report`, target: "_blank", rel: "noopener" }, "Report"),
      found.main && h("a", { class: "button", href: `#/artifact/${found.main}` }, "Engine"),
      found.main && h("a", { class: "button", href: `#/lineage/${found.main}` }, "Lineage")),
    found.error && h("p", { class: "alert" }, found.error),
    found.note && h("p", { class: "quiet" }, found.note),
    failed.map((stage) => h("p", { class: "alert" }, h("strong", {}, stage.name), ` ${stage.error}`)),
    results && figures(results),
    card("Stages", drawGraph(nodes, found.links, `Graph of the stages of ${id}`), legend()),
    card("In time", timeline(found, id)),
    found.profile.length > 0 && h("details", { class: "card" }, h("summary", {}, "Profile"), pairs(found.profile)),
    h("details", { class: "card" }, h("summary", {}, "Parameters"), pairs([...Object.entries(found.parameters).map(([k, v]) => [k, typeof v === "object" ? JSON.stringify(v) : v]), ["folder", found.uri]])));
  return { title: found.name ?? id, kicker: found.name ? `Run on the cluster, ${found.uri}` : `Run of pipeline ${found.pipeline}`, node, refresh: found.state === "RUNNING" ? 2500 : undefined, key: JSON.stringify(found) };
}

const legend = () => h("ul", { class: "legend" }, [["ok", "succeeded"], ["run", "running"], ["error", "failed"], ["warning", "stopped"], ["pending", "waiting"]].map(([look, text]) => h("li", {}, h("span", { class: `swatch ${look}` }), text)));

function figures(results) {
  const gain = results.int8?.throughput_ratio;
  return tiles([
    results.int8?.ap50 !== undefined && { label: "AP50 of the INT8 graph", value: ap(results, "int8", "ap50"), unit: "%" },
    results.arms?.real?.ap50 !== undefined && { label: "AP50 of the real arm", value: ap(results, "arms", "real", "ap50"), unit: "%" },
    results.int8?.median_ms !== undefined && { label: "a batch on the CPU, median", value: results.int8.median_ms, unit: "ms" },
    gain !== undefined && { label: "throughput, INT8 over float", value: gain, unit: "×" },
  ]);
}

function timeline(found, id) {
  const begin = new Date(found.started).getTime() / 1000;
  let at = 0;
  const rows = found.stages.map((stage) => {
    const took = stage.seconds ?? 0;
    const start = stage.began ? Math.max(0, new Date(stage.began).getTime() / 1000 - begin) : at;
    at = Math.max(at, start + took);
    return { stage, start, took };
  });
  const all = Math.max(at, 1e-3);
  return table(["stage", "state", "when", "time", "outputs", "log"], rows.map(({ stage, start, took }) => [
    stage.name,
    stage.progress ? [state(stage.state), ` ${stage.progress.done}/${stage.progress.total} ${stage.progress.note ?? ""}`] : state(stage.state),
    stage.state === "PENDING" ? "" : h("span", { class: "when", title: `from ${seconds(start)} to ${seconds(start + took)}` }, h("span", { class: LOOK[stage.state] ?? "", style: { left: `${(100 * start) / all}%`, width: `${Math.max(0.6, (100 * Math.min(took, all - start)) / all)}%` } })),
    stage.state === "PENDING" ? "" : [seconds(took), stage.kept && h("span", { class: "quiet" }, " kept")],
    h("span", { class: "links" }, stage.outputs.map((output) => (output.digest ? h("a", { href: `#/artifact/${output.digest}` }, output.name) : h("span", { class: "quiet" }, output.name)))),
    stage.state === "PENDING" || !found.logs ? "" : h("a", { href: `#/log/${enc(id)}/${enc(stage.name)}`, "aria-label": `Log of ${stage.name}` }, "log"),
  ]), { label: "Stages in time", numeric: [3] });
}

export async function log([id, stage]) {
  const answer = await fetch(`/api/runs/${enc(id)}/logs/${enc(stage)}`);
  const text = await answer.text();
  if (!answer.ok) throw new Error(JSON.parse(text).error);
  const view = h("pre", { tabindex: "0", class: "log", "aria-label": `Log of ${stage}` }, text || "The stage said nothing.");
  return { title: `Log of ${stage}`, kicker: h("a", { href: `#/run/${enc(id)}` }, `Run ${id}`), node: h("section", { class: "card" }, h("p", { class: "remark" }, "The last 64 KiB."), view) };
}

export async function schedules() {
  const found = await get("/api/schedules");
  const rows = found.map((schedule) => [schedule.name, h("span", { class: `pill ${schedule.enabled ? "ok" : ""}` }, schedule.enabled ? "on" : "paused"), schedule.when, schedule.next.length ? h("span", { class: "stack" }, schedule.next.map((moment) => when(moment))) : "–", schedule.runs_at_a_time, schedule.catch_up, schedule.version, settings(schedule.parameters)]);
  return { title: "Schedules", kicker: "Of the pipeline server", node: card(null, rows.length ? table(["name", "state", "runs", "next", "at a time", "makes up for missed", "version", "with"], rows, { label: "Schedules", numeric: [4] }) : h("p", {}, "There are none; ", h("code", {}, "aerodet schedule create"), " makes one.")) };
}

const LONGEST = 48; // letters of a parameter in a table; the rest is in its title
const settings = (parameters) => h("span", { class: "stack" }, Object.entries(parameters).map(([name, value]) => {
  const text = `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`;
  return h("code", { title: text }, text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
}));

export async function compare([left, right]) {
  const found = await get(`/api/diff/${left}/${right}`);
  const side = (name, row) => h("section", { class: "card" }, h("h2", {}, `${name}: `, h("a", { href: `#/artifact/${row.digest}` }, row.kind === row.label ? row.kind : `${row.kind} · ${row.label}`)), pairs([["run", row.run ?? "–"], ["made", when(row.started)], ["digest", digest(row.digest)]]));
  const kinds = [["data", "Data"], ["stage", "Stages"], ["parameter", "Parameters"], ["code", "Code"], ["image", "Images"], ["library", "Libraries"], ["hardware", "Hardware"], ["made here", "Same inputs and settings, another content"]];
  const cut = (text) => (/^[0-9a-f]{64}$/.test(text) ? h("a", { href: `#/artifact/${text}` }, h("code", {}, short(text))) : text);
  const changes = kinds.map(([kind, title]) => [title, found.changes.filter((change) => change.kind === kind)]).filter(([, list]) => list.length);
  const node = h("div", {},
    h("div", { class: "columns" }, side("A", found.a), side("B", found.b)),
    found.identical && card(null, h("p", { class: "good" }, "A and B are the same content.")),
    found.metrics.length > 0 && card("Metrics", table(["measured", "A", "B", "B − A"], found.metrics.map(({ name, left: a, right: b }) => [name, a, b, gap(a, b)]), { label: "Metrics", numeric: [1, 2, 3] })),
    changes.map(([title, list]) => card(title, table(["what", "A", "B", "in"], list.map((change) => [change.name, cut(change.left), cut(change.right), h("span", { class: "links" }, change.steps.map((step) => h("code", {}, step === "." ? "itself" : step)))]), { label: title }))),
    found.alike > 0 && h("p", { class: "remark" }, `${found.alike} of their inputs are the same content.`));
  return { title: "What differs", kicker: "From the artifacts down to their roots", node };
}

const gap = (a, b) => {
  const difference = Number(b) - Number(a);
  return Number.isFinite(difference) ? `${difference > 0 ? "+" : ""}${number(difference)}` : "–";
};
