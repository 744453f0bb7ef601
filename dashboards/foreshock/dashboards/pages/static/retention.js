// What is kept of each project, and the runs that are kept whatever their project's limits say.

import { get, path, post, put } from "./api.js";
import { byId, element, reconcile } from "./element.js";
import { actionButton, field, sendingForm } from "./form.js";
import { bytes, visible, whole } from "./format.js";

const GIGABYTE = 1e9;
const MOST_PINNED = 200;

function limitForm(one, changed) {
  const name = visible(one.project);
  const days = element("input", { name: "days", type: "number", min: 0.1, max: 100000, step: "any", placeholder: "for ever", "aria-label": `Days that runs of ${name} are kept` });
  const size = element("input", { name: "gigabytes", type: "number", min: 0, step: "any", placeholder: "no limit", "aria-label": `Gigabytes that are kept of ${name}` });
  days.value = one.keep_days ?? "";
  size.value = one.keep_bytes === null ? "" : one.keep_bytes / GIGABYTE;
  const send = () =>
    put(`projects/${path(one.project)}`, {
      keep_days: days.value === "" ? null : Number(days.value),
      keep_bytes: size.value === "" ? null : Math.round(Number(size.value) * GIGABYTE),
    });
  const button = element("button", { type: "submit", "aria-label": `Keep so much of ${name}` }, "Keep");
  const done = () => {
    button.blur();
    changed();
  };
  return sendingForm({}, [field("days", days), field("GB", size)], button, { failed: "Not set", send, done });
}

function limitsInWords(one) {
  const parts = [one.keep_days === null ? "" : `${whole(one.keep_days)} days`, one.keep_bytes === null ? "" : bytes(one.keep_bytes)];
  return parts.filter(Boolean).join(", at most ") || "everything, for ever";
}

function row(one, mayChange, changed) {
  return element(
    "tr",
    {},
    element("th", { scope: "row", class: "whole" }, visible(one.project)),
    element("td", { class: "num", "data-label": "Runs" }, whole(one.num_runs)),
    element("td", { class: "num", "data-label": "Holds" }, bytes(one.num_bytes)),
    element("td", { "data-label": "Keeps", class: "whole" }, mayChange ? limitForm(one, changed) : limitsInWords(one)),
  );
}

function pinnedRow(run, mayChange, changed) {
  const name = visible(run.name || run.run_id);
  const unpin = () => post(`runs/${path(run.run_id)}/unpin`, {}).then(changed);
  return element(
    "li",
    {},
    element("a", { href: `/runs/${encodeURIComponent(run.run_id)}` }, name),
    ` ${run.run_id} `,
    mayChange ? actionButton("Unpin", `Unpin ${name}`, "Not unpinned", unpin) : null,
  );
}

export function pinForm(changed) {
  const input = element("input", { name: "run", required: true, maxlength: 64, autocomplete: "off", spellcheck: "false", placeholder: "the run's id" });
  const send = () => post(`runs/${path(input.value.trim())}/pin`, {});
  const done = (_, form) => {
    form.reset();
    changed();
  };
  return sendingForm({}, [field("Keep a run whatever the limits say", input)], element("button", { type: "submit" }, "Pin"), { failed: "Not pinned", send, done });
}

export async function showRetention(mayChange, changed) {
  const [{ projects }, { runs, total }] = await Promise.all([get("projects"), get("runs", { pinned: "true", limit: MOST_PINNED })]);
  reconcile(byId("projects").tBodies[0], projects, (one) => one.project, (one) => row(one, mayChange, changed));
  byId("projects").hidden = projects.length === 0;
  byId("no-projects").hidden = projects.length > 0;
  const shown = runs.map(({ run_id, name }) => ({ run_id, name }));
  reconcile(byId("pinned"), shown, (run) => run.run_id, (run) => pinnedRow(run, mayChange, changed));
  byId("no-pinned").hidden = total > 0;
}
