// The layers of a run by their newest values. What they mean for its health the collector says.

import { toNumber } from "./format.js";

export const EXIT_GAIN = 10;
// All that the head of a run's page says; of a deep model every signal would be tens of kilobytes a second
export const SHOWN_SERIES = [
  "loss",
  "grad_norm",
  "clip_coefficient",
  "headroom_bits",
  "step_seconds",
  "layer_amax_forward_mean",
  "layer_amax_backward_mean",
  "composite_amax_forward_mean",
  "composite_amax_backward_mean",
];
const HEALTHY_GAIN = 1.6;
const LOW_HEADROOM = 4;
const COLUMN = /^(.+)\[(\d+)\]$/;

const badness = (value) => (Number.isFinite(value) && value > 0 ? Math.abs(Math.log(value)) : Number.POSITIVE_INFINITY);

// The values of some per-layer series, the worst of them for each layer: [{layer, value}].
export function byLayer(values, names) {
  const worst = new Map();
  for (const [column, raw] of Object.entries(values)) {
    const match = COLUMN.exec(column);
    if (!match || !names.includes(match[1])) continue;
    const layer = Number(match[2]);
    const value = toNumber(raw);
    if (value === null) continue;
    if (!worst.has(layer) || badness(value) > badness(worst.get(layer))) worst.set(layer, value);
  }
  return [...worst].map(([layer, value]) => ({ layer, value })).sort((a, b) => a.layer - b.layer);
}

export function worstOf(layers) {
  return layers.reduce((worst, one) => (worst && badness(worst.value) >= badness(one.value) ? worst : one), null);
}

// Within this no layer's gain counts as moved, as the health's words have it.
export function isStill(value) {
  return value >= 0.9 && value <= 1.1;
}

// Whether a run's health names a layer that moves, or had moved.
export function hasLayer(health) {
  return Number.isInteger(health?.layer);
}

export function layerGains(values) {
  return byLayer(values, ["layer_amax_forward_mean", "layer_amax_backward_mean"]);
}

export function compositeGains(values) {
  return byLayer(values, ["composite_amax_forward_mean", "composite_amax_backward_mean"]);
}

export function gainClass(value) {
  const seen = toNumber(value);
  if (seen === null) return "none";
  if (!Number.isFinite(seen) || seen > EXIT_GAIN) return "off";
  return seen > HEALTHY_GAIN || seen < 0.6 ? "uneasy" : "";
}

export function headroomClass(value) {
  const seen = toNumber(value);
  if (seen === null) return "none";
  if (!(seen > 0)) return "off";
  return seen < LOW_HEADROOM ? "uneasy" : "";
}
