// The page of the benchmark: how well the detectors warn, as scored on recorded runs, met or missed.

import { get, path } from "./api.js";
import { Chart } from "./chart.js";
import { byId, element, reconcile, setText } from "./element.js";
import { toNumber, visible, whole } from "./format.js";
import { guarded, openShell } from "./shell.js";
import { View } from "./view.js";

const SIGNS = { met: ["✓", "safe"], missed: ["✗", "risk"], "cannot be told": ["?", "watch"] };

const view = new View();
const choices = byId("choices");
const charts = [...document.querySelectorAll("[data-figure]")].map((card) => new Chart(card, source(card.dataset.figure)));

function source(name) {
  const parameters = () => ({ evaluation: view.get("evaluation") });
  return () => ({ where: `benchmark/figures/${path(name)}`, parameters: parameters(), start: null, stop: null });
}

function mark(state) {
  const [sign, level] = SIGNS[state] ?? ["?", "watch"];
  return element("span", { class: "mark", "data-level": level, role: "img", "aria-label": state, title: state }, sign);
}

// A value with its 95 % interval, or why there is none.
function estimate(one, scale = 1, digits = 2) {
  if (!one || toNumber(one.value) === null) return element("span", { class: "none", title: one?.why ?? null }, "–");
  const shown = (value) => (scale * value).toPrecision(digits);
  const interval = toNumber(one.low) === null ? null : element("span", { class: "sub" }, `${shown(one.low)} to ${shown(one.high)}`);
  return element("span", {}, shown(one.value), interval);
}

const cell = (label, ...children) => element("td", { class: "num", "data-label": label }, ...children);

function targetRow(target) {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, target.key),
    element("td", { "data-label": "State", class: "state" }, mark(target.state), ` ${target.state}`),
    element("td", { "data-label": "Asked", class: "whole" }, target.asked),
    element("td", { "data-label": "Found", class: "whole" }, target.told),
  );
}

function watcherRow([name, each, judged]) {
  const at = each.published;
  return element(
    "tr",
    { "data-judged": name === judged },
    element("th", { scope: "row", class: "whole" }, visible(name), element("span", { class: "sub" }, visible(each.source))),
    cell("Recall", estimate(at?.recall)),
    cell("False per 1,000", estimate(at?.false_per_1000)),
    cell("Healthy runs paged", estimate(at?.healthy_runs_paged)),
    cell("Median lead, % of run", estimate(at?.lead_median_percent)),
    cell("Recall at 0.05", estimate(each.budgets?.["0.05"]?.recall)),
    cell("Molchan skill", estimate(each.skill)),
  );
}

function familyRow([family, runs, recall, false_alarms]) {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, visible(family)),
    cell("Runs", whole(runs)),
    cell("Recall", estimate(recall)),
    cell("False alarms", whole(false_alarms)),
  );
}

function evaluationRow(one) {
  const states = Object.entries(one.states).map(([key, state]) => element("td", { "data-label": key }, mark(state)));
  const link = element("a", { href: `/benchmark?${new URLSearchParams({ evaluation: one.name })}` }, visible(one.title));
  return element("tr", {}, element("th", { scope: "row", class: "whole" }, link), element("td", { "data-label": "Made" }, one.date), ...states);
}

function showScore(shown) {
  const { score } = shown;
  const counts = score.runs;
  setText(byId("scored"), `${shown.title}, ${shown.date}`);
  setText(byId("verdict-sentence"), shown.verdict);
  const missed = score.targets.filter((target) => target.state === "missed").length;
  const met = score.targets.filter((target) => target.state === "met").length;
  byId("verdict").dataset.level = missed ? "watch" : met === score.targets.length ? "safe" : "partial";
  setText(byId("verdict").querySelector(".sign"), missed ? "!" : met === score.targets.length ? "✓" : "–");
  setText(byId("verdict-word"), missed ? `${whole(missed)} of ${whole(score.targets.length)} targets are missed` : `${whole(met)} of ${whole(score.targets.length)} targets are met`);
  reconcile(byId("targets").tBodies[0], score.targets, (target) => target.key, targetRow);
  reconcile(byId("watchers").tBodies[0], Object.entries(score.watchers).map(([name, each]) => [name, each, score.judged]), ([name]) => name, watcherRow);
  const at = score.watchers[score.judged].published;
  const families = Object.entries(counts.by_family).map(([family, runs]) => [family, runs, at?.recall_by_family[family] ?? null, at?.false_by_family[family] ?? null]);
  reconcile(byId("families").tBodies[0], families, ([family]) => family, familyRow);
  const words =
    `${whole(counts.scored)} runs were scored, ${whole(counts.positive)} of them with an event that counts ` +
    `(${whole(counts.events_at_a_fault)} begin with a planted fault, which nothing can foretell), with ${whole(counts.healthy_steps)} healthy steps. ` +
    `The thresholds at a budget were chosen on ${score.thresholds_from}. Intervals are of 95 %, by a bootstrap over runs.`;
  setText(byId("what"), words);
  const missing = Object.entries(score.missing_watchers);
  setText(byId("left-out"), missing.length ? `Left out: ${missing.map(([name, why]) => `${name} (${why})`).join("; ")}.` : "");
}

function offer(evaluations, shown) {
  const select = choices.elements.evaluation;
  select.replaceChildren(...evaluations.map((one) => element("option", { value: one.name }, `${visible(one.title)} (${one.date})`)));
  select.value = shown.name;
  choices.hidden = evaluations.length < 2;
  reconcile(byId("evaluations").tBodies[0], evaluations, (one) => one.name, evaluationRow);
}

async function load() {
  await guarded(async () => {
    const { evaluations, shown } = await get("benchmark", { evaluation: view.get("evaluation") });
    byId("empty").hidden = shown !== null;
    byId("report").hidden = shown === null;
    if (shown === null) return;
    offer(evaluations, shown);
    showScore(shown);
    for (const chart of charts) await chart.refresh();
  });
}

choices.addEventListener("change", (event) => {
  view.set({ evaluation: event.target.value });
  load();
});
choices.addEventListener("submit", (event) => event.preventDefault());
view.onBack(load);

openShell().on("back", load);
load();
