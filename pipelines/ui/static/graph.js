// Layered drawing of a directed graph without circles, top to bottom (Sugiyama's method: layers by longest way, order
// by the middle of the neighbours, long edges through points of their own).

import { h, s } from "./dom.js";

const WIDTH = 160, HEIGHT = 52, GAP_X = 18, GAP_Y = 38, POINT = 4, POINT_GAP = 8, ROUNDS = 16, SWEEPS = 240;
const STRAIGHT = 6; // how much more a long edge wants to go straight than a node wants to stand over its neighbours

/**
 * Draw a graph.
 * @param {{id, href, label, lines: string[], look: string, title: string}[]} nodes
 * @param {{from, to}[]} edges between ids of the nodes
 * @param {string} label what a screen reader says of the whole
 */
export function drawGraph(nodes, edges, label) {
  const { places, ways, width, height } = layout(nodes.map((node) => node.id), edges);
  const shapes = nodes.map((node) => {
    const { x, y } = places.get(node.id);
    return s("a", { href: node.href, class: `node ${node.look ?? ""}`, "aria-label": node.title, transform: `translate(${x} ${y})` },
      s("title", {}, node.title),
      s("rect", { width: WIDTH, height: HEIGHT, rx: 10 }),
      s("rect", { class: "edge-mark", width: 4, height: HEIGHT - 20, x: 8, y: 10, rx: 2 }),
      s("text", { x: 20, y: node.lines?.length ? 22 : 31, class: "name" }, clip(node.label, 19)),
      (node.lines ?? []).slice(0, 1).map((line) => s("text", { x: 20, y: 39, class: "line" }, clip(line, 22))));
  });
  const lines = ways.map((points) => s("path", { class: "way", d: curve(points) }));
  const svg = s("svg", { class: "dag", width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label },
    s("g", { "aria-hidden": "true" }, lines), shapes);
  return h("div", { class: "dag-scroll", tabindex: "-1" }, svg);
}

const clip = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

/** Place the nodes; returns their corners, each edge's points, and the size of the drawing. */
export function layout(ids, edges) {
  const known = new Set(ids);
  const links = edges.filter((edge) => known.has(edge.from) && known.has(edge.to) && edge.from !== edge.to);
  const layer = layers(ids, links);
  const rows = [];
  const put = (id, row) => { (rows[row] ??= []).push(id); };
  for (const id of ids) put(id, layer.get(id));
  const chains = links.map((edge) => {
    const chain = [edge.from];
    for (let row = layer.get(edge.from) + 1; row < layer.get(edge.to); row += 1) {
      const point = Symbol("point"); // a long edge passes between the nodes of the layers on its way
      put(point, row);
      chain.push(point);
    }
    return [...chain, edge.to];
  });
  const above = new Map(), below = new Map();
  for (const chain of chains) {
    for (let i = 1; i < chain.length; i += 1) {
      push(above, chain[i], chain[i - 1]);
      push(below, chain[i - 1], chain[i]);
    }
  }
  order(rows, above, below);
  const centre = spread(rows, above, below);
  const places = new Map(), top = (row) => row * (HEIGHT + GAP_Y);
  const left = Math.min(...[...centre].map(([id, x]) => x - breadth(id) / 2));
  let width = 0;
  rows.forEach((row, index) => row.forEach((id) => {
    const x = centre.get(id) - left;
    width = Math.max(width, x + breadth(id) / 2);
    if (typeof id !== "symbol") places.set(id, { x: x - WIDTH / 2 + 2, y: top(index) + 2 });
  }));
  const ways = chains.map((chain) => {
    const points = [];
    chain.forEach((id, i) => {
      const x = centre.get(id) - left + 2, y = top(i === 0 ? layer.get(id) : layer.get(chain[0]) + i) + 2;
      if (i > 0) points.push([x, y]);
      if (i < chain.length - 1) points.push([x, y + HEIGHT]);
    });
    return points;
  });
  return { places, ways, width: width + 4, height: Math.max(HEIGHT, top(rows.length - 1) + HEIGHT) + 4 };
}

const breadth = (id) => (typeof id === "symbol" ? POINT : WIDTH);
const push = (map, key, value) => map.set(key, [...(map.get(key) ?? []), value]);

function layers(ids, links) {
  const layer = new Map(ids.map((id) => [id, 0]));
  // Longest way from a root; in bad data with circles the rounds end all the same.
  for (let round = 0, moved = true; moved && round <= ids.length; round += 1) {
    moved = false;
    for (const { from, to } of links) {
      if (layer.get(to) < layer.get(from) + 1 && layer.get(from) + 1 < ids.length) {
        layer.set(to, layer.get(from) + 1);
        moved = true;
      }
    }
  }
  // A root sinks to just above its first user, which shortens the ways.
  for (const id of ids) {
    if (links.some((edge) => edge.to === id)) continue;
    const users = links.filter((edge) => edge.from === id).map((edge) => layer.get(edge.to));
    if (users.length) layer.set(id, Math.max(0, Math.min(...users) - 1));
  }
  const used = [...new Set(layer.values())].sort((a, b) => a - b);
  return new Map([...layer].map(([id, row]) => [id, used.indexOf(row)]));
}

function order(rows, above, below) {
  const place = new Map();
  const note = (row) => row.forEach((id, i) => place.set(id, i));
  rows.forEach(note);
  for (let round = 0; round < ROUNDS; round += 1) {
    const down = round % 2 === 0, side = down ? above : below;
    for (const row of down ? rows : [...rows].reverse()) {
      const middle = new Map(row.map((id) => {
        const near = (side.get(id) ?? []).map((other) => place.get(other));
        return [id, near.length ? near.reduce((a, b) => a + b) / near.length : place.get(id)];
      }));
      row.sort((a, b) => middle.get(a) - middle.get(b));
      note(row);
    }
  }
}

/** Choose centres: each as near to the mean of its neighbours as its row allows. */
function spread(rows, above, below) {
  const centre = new Map();
  const isPoint = (id) => typeof id === "symbol";
  const distance = (a, b) => (breadth(a) + breadth(b)) / 2 + (isPoint(a) || isPoint(b) ? POINT_GAP : GAP_X);
  const wish = (id) => { // where a node wants to be, and how much
    let sum = 0, weight = 0;
    for (const other of [...(above.get(id) ?? []), ...(below.get(id) ?? [])]) {
      const pull = isPoint(id) && isPoint(other) ? STRAIGHT : isPoint(id) || isPoint(other) ? 0.5 : 1;
      sum += pull * centre.get(other);
      weight += pull;
    }
    return weight ? { at: sum / weight, weight } : { at: centre.get(id), weight: 0.1 };
  };
  for (const row of rows) {
    let x = 0;
    row.forEach((id, i) => { x += i ? distance(row[i - 1], id) : 0; centre.set(id, x); });
    row.forEach((id) => centre.set(id, centre.get(id) - x / 2));
  }
  for (let round = 0; round < SWEEPS; round += 1) {
    for (const row of round % 2 ? [...rows].reverse() : rows) {
      settle(row, row.map(wish), distance).forEach((x, i) => centre.set(row[i], x));
    }
  }
  return centre;
}

/** The places nearest to the wishes at which neighbours keep their distance: least squares, by pooling violators. */
function settle(row, wishes, distance) {
  const offsets = [0], blocks = [];
  for (let i = 1; i < row.length; i += 1) offsets[i] = offsets[i - 1] + distance(row[i - 1], row[i]);
  wishes.forEach(({ at, weight }, i) => {
    let block = { sum: weight * (at - offsets[i]), weight, count: 1 };
    while (blocks.length && blocks.at(-1).sum / blocks.at(-1).weight > block.sum / block.weight) {
      const before = blocks.pop();
      block = { sum: before.sum + block.sum, weight: before.weight + block.weight, count: before.count + block.count };
    }
    blocks.push(block);
  });
  const places = blocks.flatMap(({ sum, weight, count }) => Array(count).fill(sum / weight));
  return places.map((place, i) => place + offsets[i]);
}

function curve(points) {
  let path = `M${points[0].join(" ")}`;
  for (let i = 1; i < points.length; i += 1) {
    const [x0, y0] = points[i - 1], [x1, y1] = points[i], middle = (y0 + y1) / 2;
    path += x0 === x1 ? `L${x1} ${y1}` : `C${x0} ${middle} ${x1} ${middle} ${x1} ${y1}`;
  }
  return path;
}
