// From a map of layers to the page of one layer, in the same window; the way back finds the same tab.

import { path } from "./api.js";

const KEPT = ["from", "to", "attempt", "axis", "smooth", "tab", "map", "log", "linear"];

export function layerAddress(runId, layer, view) {
  const query = new URLSearchParams(KEPT.filter((name) => view.get(name)).map((name) => [name, view.get(name)])).toString();
  return `/runs/${path(runId)}/layers/${path(layer)}${query ? `?${query}` : ""}`;
}

// A click on a row of a map opens its layer.
export function openLayersFrom(root, runId, view) {
  const known = new WeakSet();
  root.addEventListener("drawn", ({ detail: chart }) => {
    if (known.has(chart) || !chart.entry?.options.includes("series")) return;
    known.add(chart);
    chart.area.on("plotly_click", ({ points }) => {
      if (points[0]?.data.type === "heatmap") window.location.assign(layerAddress(runId, points[0].y, view));
    });
  });
}
