// Two charts, drawn as the report draws its own: precision over recall, and a figure over epochs.

import { s, number } from "./dom.js";

const nice = (raw) => {
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].find((factor) => factor * power >= raw * (1 - 1e-9)) * power;
};

function ticks(low, high, count) {
  const step = nice((high - low) / count || 1), found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) found.push(value);
  return found;
}

const label = (value) => (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) ? value.toExponential(0) : String(Number(value.toPrecision(3))));

function frame(points, { x, y, width = 460, height = 300, spoken, names }) {
  const left = 46, right = width - 10, top = 22, bottom = height - 34;
  const across = (v) => left + ((v - x[0]) / (x[1] - x[0] || 1)) * (right - left);
  const up = (v) => bottom - ((v - y[0]) / (y[1] - y[0] || 1)) * (bottom - top);
  const parts = [];
  for (const value of ticks(...y, 5)) {
    parts.push(s("line", { class: "grid", x1: left, x2: right, y1: up(value), y2: up(value) }));
    parts.push(s("text", { x: left - 7, y: up(value) + 4, "text-anchor": "end" }, label(value)));
  }
  for (const value of ticks(...x, 5)) {
    parts.push(s("line", { class: "grid", x1: across(value), x2: across(value), y1: top, y2: bottom }));
    parts.push(s("text", { x: across(value), y: bottom + 18, "text-anchor": "middle" }, label(value)));
  }
  parts.push(s("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
  const d = points.map(([a, b], i) => `${i ? "L" : "M"}${across(a).toFixed(2)} ${up(b).toFixed(2)}`).join("");
  if (points.length > 1) parts.push(s("path", { class: "curve", d }));
  const [a, b] = points[points.length - 1];
  parts.push(s("circle", { class: "dot", cx: across(a), cy: up(b), r: 4 }));
  parts.push(s("text", { x: left - 36, y: 11, "text-anchor": "start", class: "axis-name" }, names[1]));
  parts.push(s("text", { x: right, y: bottom - 8, "text-anchor": "end", class: "axis-name" }, names[0]));
  return s("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spoken }, parts);
}

/** Precision over recall; the part that is never reached is not drawn. */
export function precisionRecall(points) {
  const reached = points.filter(([, precision]) => precision > 0);
  if (!reached.length) return s("svg", { class: "chart", viewBox: "0 0 460 40", role: "img", "aria-label": "Nothing was found" }, s("text", { x: 0, y: 20 }, "Nothing was found, so there is no curve."));
  const [recall, precision] = reached[reached.length - 1];
  return frame(reached, { x: [0, 1], y: [0, 1], names: ["recall", "precision"], spoken: `Precision over recall; at recall ${number(recall)} precision is ${number(precision)}` });
}

/** A figure over epochs. */
export function line(points, { title, zero, x }) {
  const values = points.map(([, value]) => value), epochs = points.map(([epoch]) => epoch);
  const high = Math.max(...values), low = Math.min(...values, 0);
  const top = zero ? 100 : high > 0 ? nice(high) : 1;
  return frame(points, { x: [Math.min(...epochs), Math.max(...epochs, Math.min(...epochs) + 1)], y: [low, top], names: [x, ""], height: 230, spoken: `${title}: from ${number(values[0])} to ${number(values[values.length - 1])}` });
}
