// The figures that a page shows at once: cards in a grid, each made when it is first shown and then kept.

import { figureCard } from "./card.js";
import { Chart } from "./chart.js";

export class Board {
  // `sourceOf(entry, card)` and `onZoom` are what a Chart takes; `toolsOf(entry, chart)` gives a card's tools,
  // where `chart()` is the card's chart once it stands.
  constructor(grid, { sourceOf, onZoom, toolsOf }) {
    this.grid = grid;
    this.sourceOf = sourceOf;
    this.onZoom = onZoom;
    this.toolsOf = toolsOf;
    this.charts = new Map();
    this.shown = [];
  }

  show(entries) {
    this.shown = entries.map((entry) => this.charts.get(entry.name) ?? this.#make(entry));
    this.grid.replaceChildren(...this.shown.map((chart) => chart.card));
    for (const chart of this.shown) fit(chart);
  }

  #make(entry) {
    let chart = null;
    const card = figureCard(entry, this.toolsOf(entry, () => chart));
    chart = new Chart(card, () => this.sourceOf(entry, card), entry.over === "steps" ? this.onZoom : null);
    chart.entry = entry;
    this.charts.set(entry.name, chart);
    return chart;
  }

  // One after another: the page stays responsive, and a slow collector gets one question at a time.
  async draw() {
    for (const chart of this.charts.values()) await chart.refresh();
  }

  redraw(option) {
    for (const chart of this.charts.values()) if (chart.entry.options.includes(option)) chart.refresh();
  }

  // Gives the next or the previous figure the focus, from the one that has it or that is looked at.
  step(direction) {
    if (!this.shown.length) return;
    const at = this.shown.findIndex((chart) => chart.card.contains(document.activeElement));
    const next = at < 0 ? (direction > 0 ? 0 : this.shown.length - 1) : at + direction;
    const { card } = this.shown[Math.max(0, Math.min(this.shown.length - 1, next))];
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "center" });
  }

  focused() {
    return this.shown.find((chart) => chart.card.contains(document.activeElement)) ?? null;
  }
}

// A drawing that was away while the window changed its width.
function fit(chart) {
  const area = chart.area;
  const width = area._fullLayout?.width;
  if (width && area.clientWidth && width !== area.clientWidth) window.Plotly.Plots.resize(area);
}
