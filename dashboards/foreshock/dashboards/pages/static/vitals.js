// The few numbers of a run that stand above the figures.

import { byId, element } from "./element.js";
import { bits, duration, gain, number, share, toNumber, whole } from "./format.js";
import { compositeGains, gainClass, hasLayer, headroomClass, layerGains, worstOf } from "./health.js";

function vital(name, text, note = "", kind = "") {
  const value = element("dd", { class: kind }, text, note ? element("small", {}, note) : null);
  return element("div", {}, element("dt", {}, name), value);
}

export function showVitals(run, latest, health) {
  const values = latest?.values ?? {};
  byId("vitals").replaceChildren(
    stepVital(run, values, latest?.step ?? run.last_step),
    lossVital(values),
    compositeVital(worstOf(compositeGains(values))),
    layerVital(health, layerGains(values)),
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
  const kind = gainClass(composite.value);
  // A layer is named only where it is news
  const where = kind ? `at layer ${composite.layer}, mean over tokens` : "within 0.6× to 1.6×";
  return vital("Worst composite gain", gain(composite.value), Number.isFinite(composite.value) ? where : "", kind);
}

// As the words have it: a router or a stream may move where every gain stands still
function layerVital(health, gains) {
  const name = "Layer that moves most";
  if (!hasLayer(health)) return vital(name, gains.length ? "none" : "–");
  const since = Number.isInteger(health.moved_since) ? `since step ${whole(health.moved_since)}` : "";
  return vital(name, `layer ${health.layer}`, since);
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
