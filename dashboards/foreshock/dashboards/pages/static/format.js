// Numbers, steps and times as people read them.

import { now } from "./servertime.js";

const WORDS = { NaN: Number.NaN, Infinity: Number.POSITIVE_INFINITY, "-Infinity": Number.NEGATIVE_INFINITY };

// JSON has no NaN or infinity, so the API writes them as words; null and absent stay null.
export function toNumber(value) {
  if (typeof value === "number") return value;
  return typeof value === "string" && value in WORDS ? WORDS[value] : null;
}

export function number(value, significant = 4) {
  const seen = toNumber(value);
  if (seen === null) return "–";
  if (Number.isNaN(seen)) return "NaN";
  if (!Number.isFinite(seen)) return seen > 0 ? "+Inf" : "−Inf";
  const size = Math.abs(seen);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return seen.toExponential(2).replace("-", "−").replace("e+", "e");
  const before = size >= 1 ? Math.floor(Math.log10(size)) + 1 : 1;
  return seen.toFixed(Math.max(0, significant - before)).replace("-", "−");
}

export function gain(value) {
  const text = number(value, 3);
  return Number.isFinite(toNumber(value)) && text !== "–" ? `${text}×` : text;
}

export function bits(value) {
  const text = number(value, 3);
  return Number.isFinite(toNumber(value)) && text !== "–" ? `${text} bits` : text;
}

export function whole(value) {
  const seen = toNumber(value);
  return seen === null ? "–" : Math.round(seen).toLocaleString("en");
}

export function share(value) {
  const seen = toNumber(value);
  return Number.isFinite(seen) && seen !== null ? `${Math.round(seen * 100)} %` : number(value);
}

export function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

export function bytes(value) {
  const seen = toNumber(value);
  if (seen === null) return "–";
  const unit = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(seen, 1)) / 3)));
  return `${number(seen / 1000 ** unit, 3)} ${["bytes", "kB", "MB", "GB", "TB"][unit]}`;
}

export function ago(time) {
  const seen = toNumber(time);
  if (seen === null || seen <= 0) return "";
  const seconds = now() - seen;
  // Told by a clock that is ahead of the collector's: an age would be nonsense
  if (seconds < -90) return `at ${clock(seen)} by a clock that is ahead`;
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

// A moment by this machine's own clock, to the minute.
export function clock(time) {
  const seen = toNumber(time);
  if (seen === null || !Number.isFinite(seen) || Math.abs(seen) > 8.64e12) return "–";
  const parts = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
  return new Date(1000 * seen).toLocaleString("en", parts);
}

// A name or tag of nothing but invisible characters is told by their code points.
export function visible(text) {
  const given = String(text);
  if (given === "" || given.replace(/[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/gu, "") !== "") return given;
  const points = [...given].map((one) => `U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);
  return `(invisible: ${points.slice(0, 4).join(" ")}${points.length > 4 ? " …" : ""})`;
}

// The rules of the documents by the names people know them by; any other rule by its own.
const RULES = {
  exit_amax: "Exit: Amax keeps rising",
  exit_stability_tax: "Exit: stability tax",
  time_bomb: "Time bomb",
  canary_spread: "Layer 0 moved first",
  constraint_broken: "Constraint broken",
  vanishing: "Signal vanishing",
  nonfinite: "Not finite",
  headroom_running_out: "Headroom running out",
  loss_spike: "Loss spike",
  no_data: "Signal missing",
  heartbeat_lost: "Heartbeat lost",
  restart: "Restart",
};

export function ruleName(rule) {
  if (Object.hasOwn(RULES, rule)) return RULES[rule];
  const words = String(rule).replace(/[_-]+/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
