// What a list shows of a run: the judge's summary, read tolerantly, for a run may not be judged yet.

import { toNumber } from "./format.js";

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
    lastAlert: run.last_alert ?? null,
    numFiring: run.num_alerts?.firing ?? 0,
  };
}
