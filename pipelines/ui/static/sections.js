// What is inside an artifact: figures, tables, curves, graphs, texts and pictures.

import { bytes, card, enc, get, h, number, pairs, s, table, tiles } from "./dom.js";
import { line, precisionRecall } from "./charts.js";

const more = (section) => section.hidden > 0 && h("p", { class: "remark" }, `and ${section.hidden} more`);
const numeric = (rows, heads) => heads.map((_, i) => i).filter((i) => i > 0 && rows.every((row) => row[i] === null || typeof row[i] === "number"));

const DRAW = {
  tiles: (section) => tiles(section.tiles),
  note: (section) => card(section.title, h("p", { class: section.good ? "good" : "remark" }, section.text)),
  table: (section) => card(section.title, table(section.heads, section.rows.map((row) => row.map((value, i) => (section.heads[i] === "bytes" ? bytes(value) : value))), { label: section.title, numeric: numeric(section.rows, section.heads) }), more(section)),
  pairs: (section) => card(section.title, pairs(section.pairs), more(section)),
  curve: (section) => chart(section.title, precisionRecall(section.points)),
  line: (section) => chart(section.title, line(section.points, section)),
  onnx,
};

const chart = (title, drawing) => h("figure", { class: "card" }, h("figcaption", {}, title), drawing);

function onnx(section) {
  const most = Math.max(...section.operators.map(([, count]) => count), 1);
  const bars = section.operators.slice(0, 12).map(([name, count]) => h("div", { class: "bar-row" },
    h("span", {}, name), h("span", { class: "meter" }, h("span", { style: { width: `${(100 * count) / most}%` } })), h("span", { class: "n" }, String(count))));
  return card(`Graph ${section.title}`, h("div", { class: "columns" },
    h("div", {}, pairs(section.facts), table(["", "name", "shape"], section.ends, { label: `Inputs and outputs of ${section.title}` })),
    h("div", {}, h("h3", {}, "Operators"), bars, section.operators.length > 12 && h("p", { class: "remark" }, `and ${section.operators.length - 12} more kinds`))));
}

/** Draw all sections of an artifact; small charts stand side by side. */
export function drawSections(digest, sections) {
  const found = [];
  let row = null;
  for (const section of sections) {
    if (section.type === "texts") { found.push(texts(digest, section)); continue; }
    const node = DRAW[section.type]?.(section);
    if (!node) continue;
    const beside = section.type === "table" && row?.dataset.curve; // the slices stand beside their curve
    if (section.type === "line" || section.type === "curve" || beside) {
      if (!row) found.push((row = h("div", { class: "charts", "data-curve": section.type === "curve" ? "yes" : null })));
      row.append(node);
      if (beside) row = null;
    } else { row = null; found.push(node); }
  }
  return found;
}

function texts(digest, section) {
  const view = h("pre", { tabindex: "0", hidden: true, "aria-label": "Content of the file" });
  const choice = h("select", { id: "text-file" }, h("option", { value: "" }, "choose a file…"), section.files.map((name) => h("option", { value: name }, name)));
  choice.addEventListener("change", async () => {
    view.hidden = !choice.value;
    if (!choice.value) return;
    view.textContent = "…";
    const path = choice.value.split("/").map(enc).join("/");
    const answer = await fetch(`/api/artifacts/${digest}/text/${path}`);
    const content = await answer.text();
    view.textContent = answer.ok ? pretty(choice.value, content) : JSON.parse(content).error;
  });
  return card(section.title, h("label", { class: "field", for: "text-file" }, "File ", choice), view);
}

function pretty(name, text) {
  if (!name.endsWith(".json")) return text;
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

const WORDS = { truth: "labelled", found: "found", invented: "false alarm", missed: "missed", ignored: "to ignore" };

/** The pictures of an image set or evaluation, a page at a time. */
export function pictures(digest, first) {
  const grid = h("div", { class: "pictures" });
  const back = h("button", { type: "button" }, "Previous"), on = h("button", { type: "button" }, "Next");
  const where = h("span", { class: "quiet", role: "status" });
  const switchBoxes = h("input", { type: "checkbox", id: "boxes", checked: true });
  switchBoxes.addEventListener("change", () => grid.classList.toggle("bare", !switchBoxes.checked));
  let page = first;
  const show = () => {
    grid.replaceChildren(...page.items.map((item) => picture(item, page)));
    const last = Math.min(page.offset + page.size, page.total);
    where.textContent = page.total ? `${page.offset + 1} to ${last} of ${page.total}` : "no pictures";
    back.disabled = page.offset === 0;
    on.disabled = last >= page.total;
  };
  const go = async (offset) => { page = await get(`/api/artifacts/${digest}/pictures?offset=${offset}`); show(); };
  back.addEventListener("click", () => go(Math.max(0, page.offset - page.size)));
  on.addEventListener("click", () => go(page.offset + page.size));
  show();
  const legend = h("ul", { class: "legend" }, first.legend.map((name) => h("li", {}, h("span", { class: `box ${name}` }), WORDS[name])));
  const note = first.threshold !== undefined && h("p", { class: "remark" }, `Detections with a score of ${number(first.threshold)} or more, which gives the best F1; those with most errors first.`);
  return card("Pictures", h("div", { class: "tools" }, legend, h("label", {}, switchBoxes, " show boxes"), h("span", { class: "push" }), where, back, on), note, grid);
}

function picture(item, page) {
  const count = (name) => item.boxes.filter((box) => box[4] === name).length;
  const said = page.legend.map((name) => `${count(name)} ${WORDS[name]}`).join(", ");
  const drawing = () => [h("img", { src: `/api/artifacts/${item.src}`, alt: `${item.name}: ${said}`, loading: "lazy", width: item.width, height: item.height }), overlay(item)];
  const button = h("button", { type: "button", class: "frame", "aria-label": `Enlarge ${item.name}: ${said}` }, drawing());
  button.addEventListener("click", () => enlarge(item, said, drawing()));
  return h("figure", {}, button, h("figcaption", {}, h("span", {}, said), h("span", { class: "file" }, item.name)));
}

function overlay(item) {
  const boxes = item.boxes.map(([x1, y1, x2, y2, kind, name]) => s("rect", { class: kind, x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) }, name && s("title", {}, name)));
  return s("svg", { viewBox: `0 0 ${item.width} ${item.height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, boxes);
}

function enlarge(item, said, drawing) {
  const close = h("button", { type: "button" }, "Close");
  const dialog = h("dialog", { "aria-label": item.name }, h("div", { class: "frame large" }, drawing), h("div", { class: "tools" }, h("span", {}, `${item.name} · ${item.group} · ${item.width} × ${item.height} px · ${said}`), h("span", { class: "push" }), close));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
}
