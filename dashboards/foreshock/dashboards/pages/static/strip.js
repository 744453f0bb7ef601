// A strip of cells, one a layer: which layer moves, seen at a glance.

import { element, setText } from "./element.js";
import { gain } from "./format.js";
import { isStill, worstOf } from "./health.js";

const LADDER = [2, 5, 10, 100, 1e4, 1e8, 1e16];

export function drawStrip(figure, layers) {
  figure.hidden = layers.length === 0;
  if (!layers.length) return;
  const heights = layers.map(({ value }) => (value > 0 && Number.isFinite(value) ? Math.log10(value) : null));
  const most = Math.max(...heights.map((height) => Math.abs(height ?? 0)));
  const reach = Math.log10(LADDER.find((rung) => Math.log10(rung) >= most) ?? LADDER.at(-1));
  const isBroken = heights.every((height) => height === null);
  const worst = worstOf(layers);
  const cells = layers.map(({ layer, value }, at) => {
    const broken = heights[at] === null;
    const part = broken ? 1 : Math.max(-1, Math.min(1, heights[at] / reach));
    const isWorst = worst.layer === layer && !isBroken && !isStill(value);
    const cell = element("span", { title: `layer ${layer}: ${gain(value)}`, "data-worst": isWorst });
    cell.style.background = broken ? "var(--broken)" : `var(--scale-${Math.round(4 + 4 * part)})`;
    cell.style.height = `${Math.round(30 + 70 * Math.abs(part))}%`;
    return cell;
  });
  figure.querySelector(".cells").replaceChildren(...cells);
  const [left, right] = figure.querySelectorAll(".ends span");
  setText(left, "layer 0");
  setText(right, `layer ${layers.at(-1).layer}`);
  setText(figure.querySelector("figcaption"), `Gain by layer, now, mean over tokens: ${inWords(worst)}`);
}

function inWords({ layer, value }) {
  if (!Number.isFinite(value)) return "not finite";
  return isStill(value) ? "all within 0.9× to 1.1×" : `farthest from 1 is layer ${layer}, ${gain(value)}`;
}
