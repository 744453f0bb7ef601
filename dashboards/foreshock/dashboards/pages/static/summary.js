// What a list shows of a run: the judge's summary, read tolerantly, for a run may not be judged yet.

import { toNumber } from "./format.js";
import { gainClass, headroomClass } from "./vitals.js";

export function summaryOf(run) {
  const summary = run.summary ?? {};
  return {
    loss: toNumber(summary.loss),
    worstGain: toNumber(summary.worst_gain),
    worstLayer: summary.worst_layer ?? null,
    headroom: toNumber(summary.headroom_bits),
    lastAlert: run.last_alert ?? summary.last_alert ?? null,
    open: summary.open_alerts ?? {},
  };
}

export function levelOf(run) {
  const { loss, worstGain, headroom, open, lastAlert } = summaryOf(run);
  if ((loss !== null && !Number.isFinite(loss)) || run.state === "crashed") return "dead";
  const firing = lastAlert && lastAlert.state === "firing" ? lastAlert.severity : null;
  if ((open.critical ?? 0) > 0 || firing === "critical" || gainClass(worstGain) === "off") return "risk";
  if ((open.warning ?? 0) > 0 || firing === "warning" || run.state === "lost") return "watch";
  if (gainClass(worstGain) === "uneasy" || headroomClass(headroom) === "uneasy") return "watch";
  return run.last_step < 0 ? "unknown" : "safe";
}
