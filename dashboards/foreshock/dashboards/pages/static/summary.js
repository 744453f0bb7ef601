// What a list shows of a run: the judge's summary, read tolerantly, for a run may not be judged yet.

import { gapsOf } from "./coverage.js";
import { toNumber } from "./format.js";
import { gainClass, headroomClass } from "./health.js";

function worse(a, b) {
  if (a === null || b === null) return a ?? b;
  return b > a ? b : a;
}

export function summaryOf(run) {
  const summary = run.summary ?? {};
  return {
    loss: toNumber(summary.loss),
    worstGain: worse(toNumber(summary.composite_forward), toNumber(summary.composite_backward)),
    worstLayer: summary.worst_layer ?? null,
    headroom: toNumber(summary.headroom_bits),
    diedStep: summary.died_step ?? null,
    lastAlert: run.last_alert ?? null,
    numFiring: run.num_alerts?.firing ?? 0,
    wasCritical: (summary.first_critical_step ?? null) !== null,
  };
}

export function levelOf(run) {
  const { loss, worstGain, headroom, diedStep, numFiring, wasCritical, lastAlert } = summaryOf(run);
  if (diedStep !== null || (loss !== null && !Number.isFinite(loss)) || run.state === "crashed") return "dead";
  const isCritical = lastAlert?.state === "firing" && lastAlert.severity === "critical" && lastAlert.rule !== "heartbeat_lost";
  if (isCritical || (numFiring > 0 && wasCritical) || gainClass(worstGain) === "off") return "risk";
  if (numFiring > 0 || run.state === "lost") return "watch";
  if (gainClass(worstGain) === "uneasy" || headroomClass(headroom) === "uneasy") return "watch";
  if (run.last_step < 0) return "unknown";
  return gapsOf(run).length ? "partial" : "safe";
}
