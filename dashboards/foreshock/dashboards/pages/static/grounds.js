// What an alert rests on: signal, layer, risk by horizon, and how far its limit is.

import { element } from "./element.js";
import { share, toNumber, visible, whole } from "./format.js";

// Farther ahead no pace holds
const FAR_STEPS = 10000;

function horizon(name) {
  return name.endsWith("%") ? `${name.slice(0, -1)} % of the run` : `${name} steps`;
}

export function groundsOf({ signal, layer, risk, eta_steps }) {
  const parts = [];
  if (signal) parts.push(["signal", visible(signal)]);
  if (layer !== null && layer !== undefined) parts.push(["layer", String(layer)]);
  const risks = Object.entries(risk ?? {}).map(([name, value]) => `${share(value)} within ${horizon(name)}`);
  if (risks.length) parts.push(["risk", risks.join(", ")]);
  const eta = toNumber(eta_steps);
  if (eta !== null && eta <= FAR_STEPS) parts.push(["limit", eta ? `in about ${whole(eta)} steps` : "passed already"]);
  return parts;
}

export function groundsLine(alert) {
  const parts = groundsOf(alert);
  if (!parts.length) return null;
  const terms = parts.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text)));
  return element("dl", { class: "grounds" }, terms);
}

export function groundsInWords(one) {
  return groundsOf(one).map(([name, text]) => `${name} ${text}`).join("; ");
}
