// One run as a row of the list: its health, its thumbnail, its newest numbers.

import { element } from "./element.js";
import { ago, bits, gain, number, ruleName, visible, whole } from "./format.js";
import { gainClass, headroomClass } from "./health.js";
import { summaryOf } from "./summary.js";

function mark({ health }) {
  const words = `${health.word}. ${health.sentence}`;
  const attributes = { class: "mark", "data-level": health.level, role: "img", "aria-label": words, title: words };
  return element("span", attributes, health.sign);
}

function nameCell(run, choice) {
  const name = run.name || run.run_id;
  // Runs that nobody named have one name, so only the id tells them apart.
  const id = name === run.run_id ? null : run.run_id;
  const under = [run.project, run.group, ...(run.tags ?? []), id].filter(Boolean).map(visible).join(" · ");
  return element(
    "td",
    { class: "whole" },
    element(
      "div",
      { class: "run-name" },
      choice,
      mark(run),
      element(
        "span",
        {},
        element("a", { href: `/runs/${encodeURIComponent(run.run_id)}`, title: name }, visible(name)),
        element("span", { class: "sub" }, under),
      ),
    ),
  );
}

function stepCell(run) {
  const total = run.total_steps ? ` / ${whole(run.total_steps)}` : "";
  const bar = element("span", {});
  if (run.total_steps) bar.style.width = `${Math.min(100, (100 * (run.last_step + 1)) / run.total_steps)}%`;
  return element(
    "td",
    { "data-label": "Step", class: "steps" },
    run.last_step < 0 ? "–" : `${whole(run.last_step)}${total}`,
    run.total_steps ? element("span", { class: "progress", "aria-hidden": true }, bar) : null,
  );
}

function alertCell(run) {
  const { lastAlert, numFiring } = summaryOf(run);
  if (!lastAlert) return element("td", { class: "none whole last", "data-label": "Last alert" }, "none");
  const step = lastAlert.fired_step ?? lastAlert.opened_step;
  const others = numFiring - (lastAlert.state === "firing" ? 1 : 0);
  const more = others > 0 ? `, ${others} more` : "";
  const words = { class: "severity", "data-severity": lastAlert.severity, "data-state": lastAlert.state };
  return element(
    "td",
    { class: "whole last", "data-label": "Last alert" },
    element("span", words, ruleName(lastAlert.rule)),
    element("span", { class: "sub" }, `step ${whole(step)}, ${lastAlert.state}${more}`),
  );
}

function stateCell(run) {
  const attributes = { class: "badge", "data-state": run.state, title: `heard ${ago(run.heartbeat_at)}` };
  return element("td", { "data-label": "State" }, element("span", attributes, run.state));
}

// `sparkOf(run)` draws the run's thumbnail, `choice` is its box to tick.
export function runRow(run, sparkOf, choice) {
  const { loss, worstGain, worstLayer, headroom } = summaryOf(run);
  const where = worstLayer === null ? null : element("span", { class: "sub" }, `layer ${worstLayer} moves most`);
  return element(
    "tr",
    {},
    nameCell(run, choice),
    element("td", { class: "spark", "data-label": "Gain by layer" }, sparkOf(run)),
    stateCell(run),
    element("td", { class: "num", "data-label": "Seed" }, run.seed === null || run.seed === undefined ? "–" : String(run.seed)),
    stepCell(run),
    element("td", { class: `num ${loss !== null && !Number.isFinite(loss) ? "off" : ""}`, "data-label": "Loss" }, number(loss)),
    element("td", { class: `num ${gainClass(worstGain)}`, "data-label": "Worst gain" }, gain(worstGain), where),
    element("td", { class: `num ${headroomClass(headroom)}`, "data-label": "Headroom" }, bits(headroom)),
    alertCell(run),
  );
}
