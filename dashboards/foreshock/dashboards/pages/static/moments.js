// What happened in a run beside its numbers: alerts, schedule changes, resumes, its end, notes.

import { since, stateOf } from "./alert.js";
import { ruleName } from "./format.js";

const MAX_WORDS = 300;

// Each {lane, key, step, until, title, words, severity}; `starts` says at which step each attempt began.
export function momentsOf({ alerts, events, notes, starts }, attempt) {
  const ofAttempt = (one) => attempt === null || one.attempt === attempt;
  return [
    ...alerts.filter((one) => ofAttempt(one) && hasStood(one)).map(ofAlert),
    ...events.filter((one) => ofAttempt(one) && one.rank === 0).map(ofEvent),
    ...[...starts].filter(([number]) => number > 0).map(ofResume),
    ...notes.map(ofNote),
  ].filter((one) => Number.isFinite(one.step) && one.step >= 0);
}

// What was never sure and has passed told nobody anything: it stays in the table of alerts, as in the figures.
function hasStood(alert) {
  return alert.state !== "resolved" || Number.isInteger(alert.fired_step);
}

function ofAlert(alert) {
  return {
    lane: "Alerts",
    key: `alert ${alert.alert_id}`,
    step: since(alert),
    until: alert.resolved_step ?? Number.POSITIVE_INFINITY,
    title: `${ruleName(alert.rule)}, ${alert.severity}, ${stateOf(alert)}`,
    words: alert.reason,
    severity: alert.severity,
  };
}

function ofEvent(event, at) {
  const [lane, title] = KINDS[event.kind] ?? ["Notes", event.kind];
  const key = `event ${event.attempt} ${event.step} ${at}`;
  return { lane, key, step: event.step, until: null, title, words: told(event.detail) };
}

const KINDS = {
  schedule: ["Schedule", "Schedule change"],
  note: ["Notes", "Note by the training script"],
  rollback: ["Attempts", "Rolled back"],
  finished: ["Attempts", "Finished"],
  crashed: ["Attempts", "Ended with an error"],
};

function ofResume([number, step]) {
  return { lane: "Attempts", key: `resume ${number}`, step, until: null, title: "Resumed", words: `attempt ${number} begins` };
}

function ofNote(note) {
  const title = `Note by ${note.author}`;
  return { lane: "Notes", key: `note ${note.number}`, step: note.step, until: null, title, words: note.text };
}

function told(detail) {
  const pairs = Object.entries(detail ?? {}).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return ["what", "text", "note", "message"].includes(key) ? text : `${key.replaceAll("_", " ")}: ${text}`;
  });
  const words = pairs.join("; ");
  return words.length > MAX_WORDS ? `${words.slice(0, MAX_WORDS)} …` : words;
}
