// The few numbers of a run that stand above the figures.

import { byId, element } from "./element.js";
import { bits, duration, gain, number, share, toNumber, whole } from "./format.js";
import { compositeGains, gainClass, headroomClass, layerGains, worstOf } from "./health.js";

function vital(name, text, note = "", kind = "") {
  const value = element("dd", { class: kind }, text, note ? element("small", {}, note) : null);
  return element("div", {}, element("dt", {}, name), value);
}

export function showVitals(run, latest) {
  const values = latest?.values ?? {};
  byId("vitals").replaceChildren(
    stepVital(run, values, latest?.step ?? run.last_step),
    lossVital(values),
    compositeVital(worstOf(compositeGains(values))),
    layerVital(worstOf(layerGains(values))),
    gradientVital(values),
    headroomVital(values),
  );
}

function stepVital(run, values, step) {
  const loss = toNumber(values.loss);
  const goesOn = run.state === "running" && run.total_steps && (loss === null || Number.isFinite(loss));
  const notes = [run.total_steps ? `of ${whole(run.total_steps)}` : "", goesOn ? remaining(run, values, step) : ""];
  return vital("Step", step < 0 ? "–" : whole(step), notes.filter(Boolean).join(", "));
}

function lossVital(values) {
  const loss = toNumber(values.loss);
  return vital("Loss", number(loss), "nat", loss !== null && !Number.isFinite(loss) ? "off" : "");
}

function compositeVital(composite) {
  if (!composite) return vital("Worst composite gain", "–");
  const where = Number.isFinite(composite.value) ? `layer ${composite.layer}, mean over tokens` : "";
  return vital("Worst composite gain", gain(composite.value), where, gainClass(composite.value));
}

function layerVital(layer) {
  if (!layer || !Number.isFinite(layer.value)) return vital("Layer that moves most", "–");
  return vital("Layer that moves most", `layer ${layer.layer}`, `gain ${gain(layer.value)}, mean over tokens`);
}

function gradientVital(values) {
  const left = values.clip_coefficient === undefined ? "" : `clipping leaves ${share(values.clip_coefficient)}`;
  return vital("Gradient norm", number(values.grad_norm), left);
}

function headroomVital(values) {
  const headroom = toNumber(values.headroom_bits);
  if (headroom === null) return vital("Headroom", "–");
  return vital("Headroom", bits(headroom), "until the stream overflows", headroomClass(headroom));
}

function remaining(run, values, step) {
  const steps = run.total_steps - step - 1;
  const sinceStart = (run.heartbeat_at - run.started_at) / (step + 1);
  const measured = run.attempt === 0 && step > 0 ? sinceStart : toNumber(values.step_seconds);
  return steps > 0 && measured > 0 ? `${duration(steps * measured)} left` : "";
}
