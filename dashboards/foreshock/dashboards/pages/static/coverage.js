// How much of a run was seen: a run of which half was lost, or that has nothing to measure, is not "safe".

import { toNumber, whole } from "./format.js";

// Single steps lost to a restart do not change what may be said of a run.
const ENOUGH = 0.99;

function lostSteps(run) {
  const ofAttempt = (run.cursors ?? []).filter((cursor) => cursor.attempt === run.attempt);
  return Math.max(0, ...ofAttempt.map((cursor) => cursor.lost_frames ?? 0));
}

// {seen, all}: the judge's count; a resumed attempt begins late, so there only what is known as lost counts.
function stepsOf(run) {
  const summary = run.summary ?? {};
  const judged = toNumber(summary.num_samples);
  const last = toNumber(summary.step);
  if (judged === null || last === null || last < 0) return null;
  const all = run.attempt ? judged + lostSteps(run) : last + 1;
  return { seen: Math.min(judged, all), all };
}

// What was not seen, as phrases; none where the whole run was. `measured` says if any layer has a value now.
export function gapsOf(run, measured = false) {
  const gaps = [];
  const steps = stepsOf(run);
  if (steps && steps.seen < ENOUGH * steps.all) gaps.push(`${whole(steps.seen)} of ${whole(steps.all)} steps`);
  if (steps && !measured && !run.summary.has_layers) gaps.push("no mixing layers measured");
  return gaps;
}
