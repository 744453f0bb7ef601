// Reads a run's health from what the collector tells: values, alerts, state.

import { gapsOf } from "./coverage.js";
import { gain, number, ruleName, toNumber, whole } from "./format.js";

export const EXIT_GAIN = 10;
const HEALTHY_GAIN = 1.6;
const LAYER_BAND = [0.9, 1.1];
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

const isOpen = (alert) => alert.state !== "resolved";
const stepOf = (alert) => alert.fired_step ?? alert.opened_step;
const earliest = (alerts) => alerts.reduce((first, one) => (first && stepOf(first) <= stepOf(one) ? first : one), null);
// A lost heartbeat is a matter of contact, not of the training's health.
const isGrave = (alert) =>
  alert.severity === "critical" && alert.state === "firing" && alert.rule !== "heartbeat_lost";
const isDeath = (alert) => alert.rule === "nonfinite" && alert.subject === "loss";

// {level, sign, word, sentence}: in ten seconds, is it safe, which layer moves, since when.
export function healthOf(run, alerts, latest) {
  const values = latest?.values ?? {};
  const loss = toNumber(values.loss);
  const open = alerts.filter(isOpen);
  const critical = open.filter(isGrave);
  const died = (loss !== null && !Number.isFinite(loss)) || open.some(isDeath);
  if (died) return diverged(run, alerts, latest, loss);
  if (run.state === "crashed") return crashed(run, values);
  if (critical.length) return atRisk(critical, values);
  if (run.state === "lost") return lost(run);
  if (latest?.step === null || latest?.step === undefined || latest.step < 0) {
    const sentence = "The run is registered; its first step has not arrived.";
    return { level: "unknown", sign: "…", word: "No data yet", sentence };
  }
  return calm(run, open, values);
}

function crashed(run, values) {
  const sentence = `The run ended with an error after step ${whole(run.last_step)}. ${movement(values)}`;
  return { level: "dead", sign: "✕", word: "Crashed", sentence };
}

function lost(run) {
  const sentence =
    `Nothing has been heard since step ${whole(run.last_step)}. Is the process alive? ` +
    "The probe sends what it kept when it comes back.";
  return { level: "watch", sign: "?", word: "Contact lost", sentence };
}

function diverged(run, alerts, latest, loss) {
  const broken = earliest(alerts.filter((one) => isDeath(one) && isOpen(one)));
  const at = run.summary?.died_step ?? (broken ? broken.opened_step : latest.step);
  const what = loss !== null && !Number.isFinite(loss) ? `The loss is ${number(loss)}` : "Values are not finite";
  const isWarning = (one) => one.severity === "critical" && one.fired_step !== null && one.fired_step < at;
  const warned = earliest(alerts.filter((one) => isWarning(one) && !isDeath(one)));
  const lead = warned
    ? ` “${ruleName(warned.rule)}” had warned at step ${whole(stepOf(warned))}, ${whole(at - stepOf(warned))} steps before.`
    : "";
  const layer = run.summary?.worst_layer ?? null;
  const moved = layer === null ? "" : ` Layer ${layer} had moved most.`;
  const sentence = `${what} since step ${whole(at)}.${lead}${moved}`;
  return { level: "dead", sign: "✕", word: `Diverged at step ${whole(at)}`, sentence };
}

function atRisk(critical, values) {
  const first = earliest(critical);
  const loss = toNumber(values.loss);
  const still = loss === null ? "" : ` The loss (${number(loss)}) may still look healthy.`;
  return {
    level: "risk",
    sign: "!",
    word: `At risk since step ${whole(stepOf(first))}`,
    sentence: `${movement(values)}${still}`.trim() || first.reason,
  };
}

function calm(run, open, values) {
  const composite = worstOf(compositeGains(values));
  const headroom = toNumber(values.headroom_bits);
  const uneasy = [];
  if (open.length) uneasy.push(`${ruleName(earliest(open).rule)} since step ${whole(stepOf(earliest(open)))}.`);
  if (composite && gainClass(composite.value)) uneasy.push("The composite gain has left its healthy band (0.6 to 1.6).");
  if (headroom !== null && headroom < LOW_HEADROOM) uneasy.push(`Only ${number(headroom)} bits of headroom are left.`);
  const ended = run.state === "finished" ? `Finished at step ${whole(run.last_step)}. ` : "";
  const gaps = gapsOf(run, layerGains(values).length > 0);
  const seen = gaps.length ? `Seen: ${gaps.join("; ")}. ` : "";
  if (uneasy.length) {
    const sentence = `${ended}${uneasy.join(" ")} ${seen}${movement(values)}`.trim();
    return { level: "watch", sign: "!", word: "Watch", sentence };
  }
  if (gaps.length) {
    const sentence = `${ended}No open alerts in what was seen (${gaps.join("; ")}). ${movement(values)}`.trim();
    return { level: "partial", sign: "–", word: "Seen in part", sentence };
  }
  return { level: "safe", sign: "✓", word: "Safe", sentence: `${ended}No open alerts. ${movement(values)}`.trim() };
}

function movement(values) {
  const layer = worstOf(layerGains(values));
  const composite = worstOf(compositeGains(values));
  const parts = [];
  if (layer) {
    const inside = layer.value >= LAYER_BAND[0] && layer.value <= LAYER_BAND[1];
    const moves = `Layer ${layer.layer} moves most: its gain, mean over tokens, is ${gain(layer.value)}.`;
    parts.push(inside ? "Every layer is within 0.9× to 1.1×." : moves);
  }
  if (composite) {
    const limits = `healthy up to ${HEALTHY_GAIN}×, exit over ${EXIT_GAIN}×`;
    parts.push(`All layers multiplied: ${gain(composite.value)} at layer ${composite.layer} (${limits}).`);
  }
  return parts.join(" ");
}
