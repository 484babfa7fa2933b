// The shell: which view an address means, how views follow each other, and the search field.

import { get, h, say } from "./dom.js";
import { artifact, artifacts, lineage } from "./artifacts.js";
import { model, models } from "./models.js";
import { compare, log, run, runs, schedules } from "./runs.js";

const VIEWS = { runs, run, log, compare, artifacts, artifact, lineage, models, model, schedules };
const TAB = { run: "runs", log: "runs", compare: "runs", artifact: "artifacts", lineage: "artifacts", model: "models" };
const main = document.getElementById("main");
let visit = 0, timer = 0;

async function show({ again = false, key = "" } = {}) {
  const mine = again ? visit : (visit += 1);
  clearTimeout(timer);
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "runs", ...rest] = path.split("/").filter(Boolean).map(decodeURIComponent);
  const view = Object.hasOwn(VIEWS, name) ? VIEWS[name] : () => { throw new Error("There is no such page."); };
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === (TAB[name] ?? name)) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const wait = again ? 0 : setTimeout(() => main.replaceChildren(h("p", { class: "loading", role: "status" }, "Loading…")), 200);
  let found;
  try {
    found = await view(rest, new URLSearchParams(query));
  } catch (error) {
    found = { title: "That did not work", node: h("p", { class: "alert" }, error instanceof TypeError ? "The server does not answer; is `aerodet ui` still running?" : error.message), refresh: again ? 5000 : undefined };
  }
  clearTimeout(wait);
  if (mine !== visit) return; // somebody has gone on meanwhile
  if (!again || found.key !== key) place(found, again);
  if (found.refresh) timer = setTimeout(() => (document.hidden ? document.addEventListener("visibilitychange", () => show({ again: true, key: found.key }), { once: true }) : show({ again: true, key: found.key })), found.refresh);
}

function place(found, again) {
  const title = h("h1", { tabindex: "-1" }, found.title);
  const held = again ? [...main.querySelectorAll("a, button, input, summary")].indexOf(document.activeElement) : -1;
  const open = again ? [...main.querySelectorAll("details")].map((node) => node.open) : [];
  const scrolled = again ? [...main.querySelectorAll(".dag-scroll")].map((node) => node.scrollLeft) : [];
  main.replaceChildren(h("div", { class: "head" }, found.kicker && h("p", { class: "kicker" }, found.kicker), title), found.node);
  document.title = `${found.title} – aerodet`;
  if (again) { // the reader's place is kept
    main.querySelectorAll("details").forEach((node, i) => { node.open = open[i] ?? node.open; });
    main.querySelectorAll(".dag-scroll").forEach((node, i) => { node.scrollLeft = scrolled[i] ?? 0; });
    if (held >= 0) main.querySelectorAll("a, button, input, summary")[held]?.focus({ preventScroll: true });
    return;
  }
  for (const box of main.querySelectorAll(".dag-scroll")) {
    const start = box.querySelector(".start")?.getBoundingClientRect(), frame = box.getBoundingClientRect();
    const middle = start ? start.x - frame.x + start.width / 2 : box.scrollWidth / 2;
    box.scrollLeft = middle - box.clientWidth / 2;
  }
  for (const text of main.querySelectorAll("pre.log")) text.scrollTop = text.scrollHeight; // the end tells why
  scrollTo(0, 0);
  if (visit > 1) title.focus({ preventScroll: true });
  say(found.title);
}

const field = document.getElementById("find");
document.querySelector(".find").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = field.value.trim();
  location.hash = text ? `#/artifacts?text=${encodeURIComponent(text)}` : "#/artifacts";
});
document.querySelector("[data-skip]").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName)) return;
  event.preventDefault();
  field.focus();
});
addEventListener("hashchange", () => show());

show();
get("/api/overview").then((found) => {
  const problems = found.problems.length > 0 && h("details", {}, h("summary", {}, `${found.problems.length} left out`), h("ul", {}, found.problems.map((problem) => h("li", {}, problem.reason))));
  if (found.schedules) {
    const here = location.hash.startsWith("#/schedules");
    document.querySelector(".bar nav").append(h("a", { href: "#/schedules", "data-view": "schedules", "aria-current": here ? "page" : null }, "Schedules"));
  }
  document.getElementById("places").replaceChildren(`aerodet ${found.version} · ${found.runs} ${found.runs === 1 ? "run" : "runs"} and ${found.artifacts} artifacts in ${found.places.join(", ")}`, problems || "");
}).catch(() => {});
