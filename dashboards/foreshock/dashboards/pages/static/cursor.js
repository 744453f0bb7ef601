// One cursor for all figures over steps: where one is pointed at, the others show a line and their values.

import { element } from "./element.js";
import { number, whole } from "./format.js";
import { placeOf, stepOf } from "./ruler.js";

const MAX_VALUES = 6;

export class Cursor {
  // `charts()` are those that may show it; `onMove(step)` hears of every move, null where it is gone.
  constructor(root, charts, onMove) {
    this.charts = charts;
    this.onMove = onMove;
    this.step = null;
    this.frame = null;
    this.overlays = new WeakMap();
    root.addEventListener("drawn", (event) => this.#drawn(event.detail));
    root.addEventListener("focusout", () => this.move(null));
  }

  // `pointed` is the chart under the pointer, which plotly itself labels.
  move(step, pointed = null) {
    if (step === this.step) return;
    this.step = step;
    this.pointed = pointed;
    this.frame ??= window.requestAnimationFrame(() => {
      this.frame = null;
      for (const chart of this.charts()) this.#show(chart);
      this.onMove(this.step);
    });
  }

  // By keys: to the neighbouring points of a chart, from its last where there is no cursor yet.
  nudge(chart, places) {
    const steps = longest(chart.area.data ?? []);
    if (!steps.length) return;
    const at = this.step === null ? steps.length - 1 : nearest(steps, placeOf(chart.figure, this.step)) + places;
    this.move(Math.round(stepOf(chart.figure, steps[Math.max(0, Math.min(steps.length - 1, at))])));
  }

  #drawn(chart) {
    if (chart.card.dataset.shape !== "steps") return;
    if (!this.overlays.has(chart)) {
      const line = element("div", { class: "cursor-line", hidden: true });
      const values = element("div", { class: "cursor-values", hidden: true });
      chart.box.append(line, values);
      this.overlays.set(chart, { line, values });
      chart.area.on("plotly_hover", ({ xvals, points }) =>
        this.move(Math.round(stepOf(chart.figure, xvals?.[0] ?? points[0].x)), chart),
      );
      chart.area.on("plotly_unhover", () => this.move(null));
    }
    this.#show(chart);
  }

  #show(chart) {
    const overlay = this.overlays.get(chart);
    if (!overlay) return;
    const { line, values } = overlay;
    const layout = chart.area._fullLayout;
    const place = this.step === null ? null : placeOf(chart.figure, this.step);
    const at = place === null || !layout?.xaxis ? null : layout.xaxis.d2p(place);
    const isInside = at !== null && at >= 0 && at <= layout.xaxis._length && !chart.area.hidden;
    line.hidden = !isInside || chart === this.pointed;
    values.hidden = line.hidden;
    if (line.hidden) return;
    const { t, b, l } = layout._size;
    line.style.cssText = `left: ${l + at}px; top: ${t}px; bottom: ${b}px`;
    values.style.top = `${t + 4}px`;
    const isRight = at > layout.xaxis._length / 2;
    values.style.left = isRight ? "auto" : `${l + at + 8}px`;
    values.style.right = isRight ? `${layout.width - l - at + 8}px` : "auto";
    values.replaceChildren(...rows(chart.area.data, this.step, place));
  }
}

function rows(traces, step, place) {
  // Of a line and its moving average the average, which is drawn later
  const told = new Map(traces.map((trace) => reading(trace, place)).filter(Boolean).map((one) => [one.name, one]));
  const lines = [...told.values()].slice(0, MAX_VALUES).map(({ name, text, colour }) => {
    const row = element("div", {}, element("span", { class: "swatch" }), `${name} `, element("b", {}, text));
    row.firstChild.style.background = colour;
    return row;
  });
  return [element("div", { class: "cursor-step" }, `step ${whole(step)}`), ...lines];
}

// {name, text, colour} of what a trace shows at a place of its axis; null for bands, marks and where it has nothing.
function reading(trace, place) {
  if (trace.type === "heatmap") return tallest(trace, place);
  if (!trace.mode?.includes("lines") || trace.fill || trace.hoverinfo === "skip" || !trace.x.length) return null;
  const value = trace.y[nearest(trace.x, place)];
  const isTold = value !== null && value !== undefined;
  return { name: trace.name, text: isTold ? number(value) : "–", colour: trace.line.color };
}

// Of a map's column the cell that stands out most.
function tallest(trace, place) {
  if (!trace.showscale && trace.showscale !== undefined) return null;
  const at = nearest(trace.x, place);
  const isCentred = trace.zmin < 0 && trace.zmax === -trace.zmin;
  const height = (row) => (row[at] === null ? Number.NEGATIVE_INFINITY : isCentred ? Math.abs(row[at]) : row[at]);
  const layer = trace.z.reduce((best, row, index) => (height(row) > height(trace.z[best]) ? index : best), 0);
  if (!trace.z.length || trace.z[layer][at] === null) return null;
  const text = String(trace.customdata?.[layer]?.[at] ?? number(trace.z[layer][at]));
  return { name: `layer ${trace.y[layer]}`, text, colour: "var(--ink)" };
}

function longest(traces) {
  const steps = traces.filter((trace) => trace.mode?.includes("lines") || trace.type === "heatmap").map((trace) => trace.x);
  return steps.reduce((most, one) => (one.length > most.length ? one : most), []);
}

// The index of the point nearest to a place, of places that rise.
function nearest(places, place) {
  let low = 0;
  let high = places.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle] < place) low = middle + 1;
    else high = middle;
  }
  return low > 0 && place - places[low - 1] < places[low] - place ? low - 1 : low;
}
