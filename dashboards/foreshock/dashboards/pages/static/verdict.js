// The page of the restart verdict: in words, condition by condition, with the numbers behind each.

import { ApiError, get } from "./api.js";
import { about } from "./caller.js";
import { byId, element, reconcile, setText } from "./element.js";
import { gain, number, ruleName, toNumber, visible, whole } from "./format.js";
import { groupings } from "./groupings.js";
import { Pulse } from "./pulse.js";
import { guarded, openShell } from "./shell.js";
import { View } from "./view.js";

const WORDS = { restart: ["✓", "Restart"], wait: ["!", "Wait"], undecided: ["?", "Not decided yet"] };
const SIGNS = { met: ["✓", "safe", "met"], failed: ["✗", "risk", "not met"], missing: ["?", "watch", "missing"] };
const READINGS = [
  ["first_tenth", "In the first 10 %"],
  ["after_fault", "Within 10 % of the fault"],
  ["before_onset", "At most 10 % before the onset"],
];
const MOST_RUNS = 500;
const ITSELF = ["", "found by itself"];
const NAMES = ["project", "group_by", "constrained", "baseline"];

const view = new View();
const choices = byId("choices");

function fill(name, options, wanted) {
  const select = choices.elements[name];
  const all = wanted && !options.some(([value]) => value === wanted) ? [[wanted, wanted], ...options] : options;
  if (JSON.stringify([...select.options].map((one) => [one.value, one.text])) !== JSON.stringify(all)) {
    select.replaceChildren(...all.map(([value, text]) => element("option", { value }, text)));
  }
  select.value = wanted;
}

const named = (values) => values.map((value) => [value, visible(value)]);

async function loadChoices() {
  const { projects } = await about({ again: true });
  fill("project", named(projects), view.get("project") || projects[0] || "");
  const project = choices.elements.project.value;
  const runs = project ? (await get("runs", { project, limit: MOST_RUNS })).runs : [];
  fill("group_by", [ITSELF, ...named(groupings(runs))], view.get("group_by"));
  return runs.length > 0 || Boolean(view.get("project"));
}

function showVerdict(verdict) {
  const card = byId("verdict");
  const [sign, word] = WORDS[verdict.state] ?? ["?", verdict.state];
  card.hidden = false;
  card.dataset.state = verdict.state;
  setText(card.querySelector(".sign"), sign);
  setText(byId("verdict-word"), word);
  setText(byId("verdict-sentence"), `${verdict.sentence} Runs are grouped by ${verdict.group_by}.`);
  reconcile(byId("conditions"), verdict.requirements, (one) => one.name, condition);
  const notes = byId("notes");
  notes.hidden = verdict.notes.length === 0;
  notes.querySelector("ul").replaceChildren(...verdict.notes.map((note) => element("li", {}, note)));
}

function condition(one) {
  const [sign, level, state] = SIGNS[one.state] ?? ["?", "watch", one.state];
  return element(
    "li",
    { "data-state": one.state },
    element("span", { class: "mark", "data-level": level, role: "img", "aria-label": state }, sign),
    element(
      "div",
      {},
      element("h2", {}, one.title),
      element("p", {}, one.words),
      one.todo ? element("p", { class: "todo" }, element("b", {}, "What to do: "), one.todo) : null,
    ),
  );
}

function testRow([name, test]) {
  const [low, high] = test.interval;
  return element(
    "tr",
    {},
    element("td", { class: "whole" }, ruleName(name)),
    element("td", { "data-label": "Test" }, test.test),
    element("td", { class: "num", "data-label": "p" }, number(test.p_value)),
    element("td", { class: "num", "data-label": "Ratio" }, gain(test.effect)),
    element("td", { class: "num", "data-label": "95 % interval" }, `${number(low, 3)} to ${number(high, 3)}`),
    element("td", { "data-label": "Runs" }, `${test.num_constrained} against ${test.num_baseline}`),
    element("td", { "data-label": "Evidence", class: test.is_weak ? "uneasy" : "" }, test.is_weak ? "weak: few seeds" : "full"),
  );
}

const step = (value) => (value === null ? "–" : whole(value));

function stressRow(test) {
  const readings = READINGS.map(([name, label]) => {
    const words = test[name] === null ? "–" : test[name] ? "✓ yes" : "✗ no";
    return element("td", { "data-label": label }, name === test.decided_by ? element("b", {}, words) : words);
  });
  const rule = test.warning_rule ? element("span", { class: "sub" }, ruleName(test.warning_rule)) : null;
  return element(
    "tr",
    {},
    element("td", { class: "whole" }, runLink(test), element("span", { class: "sub" }, test.words)),
    element("td", { class: "num", "data-label": "Steps" }, step(test.total_steps)),
    element("td", { class: "num", "data-label": "Fault" }, step(test.fault_step)),
    element("td", { class: "num", "data-label": "Warned" }, step(test.warning_step), rule),
    element("td", { class: "num", "data-label": "Onset" }, step(test.onset_step)),
    ...readings,
    element("td", { "data-label": "Outcome", class: test.outcome === "failed" ? "off" : "" }, test.outcome),
  );
}

function runLink(run) {
  return element("a", { href: `/runs/${encodeURIComponent(run.run_id)}` }, visible(run.name || run.run_id));
}

function groupRow({ group, run }) {
  const peak = toNumber(run.log_peak_gain);
  const role = group.role === "other" ? null : element("span", { class: "sub role" }, group.role);
  const died = run.died ? element("span", { class: "sub off" }, "died") : null;
  return element(
    "tr",
    {},
    element("td", { "data-label": "Group" }, visible(group.key), role),
    element("td", { "data-label": "Run" }, runLink(run)),
    element("td", { class: "num", "data-label": "Seed" }, run.seed === null ? "–" : String(run.seed)),
    element("td", { "data-label": "State" }, element("span", { class: "badge", "data-state": run.state }, run.state), died),
    element("td", { class: "num", "data-label": "Steps" }, run.last_step === null ? "0" : whole(run.last_step + 1)),
    element("td", { class: "num", "data-label": "Final loss" }, run.died ? "–" : number(run.final_loss)),
    element("td", { class: "num", "data-label": "Peak gain, mean over tokens" }, peak === null ? "–" : gain(Math.exp(peak))),
  );
}

function showRows(table, empty, rows, key, build) {
  reconcile(byId(table).tBodies[0], rows, key, build);
  byId(table).hidden = rows.length === 0;
  byId(empty).hidden = rows.length > 0;
}

function showNumbers(verdict) {
  showRows("tests", "no-tests", Object.entries(verdict.tests), ([name]) => name, testRow);
  showRows("stress", "no-stress", verdict.stress_tests, (test) => test.run_id, stressRow);
  byId("stress-note").hidden = verdict.stress_tests.length === 0;
  const order = ["constrained", "baseline", "other"];
  const groups = [...verdict.groups].sort((one, other) => order.indexOf(one.role) - order.indexOf(other.role));
  const rows = groups.flatMap((group) => group.runs.map((run) => ({ group: { key: group.key, role: group.role }, run })));
  showRows("groups", "no-runs", rows, ({ group, run }) => `${group.key}/${run.run_id}`, groupRow);
}

function showNothing(words) {
  byId("verdict").hidden = true;
  byId("notes").hidden = true;
  showNumbers({ tests: {}, stress_tests: [], groups: [] });
  byId("no-runs").replaceChildren(element("strong", {}, "No verdict"), words);
}

function offerGroups(verdict) {
  const keys = named(verdict.groups.map((group) => group.key));
  const found = new Map(verdict.candidates.map((one) => [one.constrained, one.state]));
  const told = keys.map(([key, text]) => [key, found.has(key) ? `${text} (${found.get(key)})` : text]);
  fill("constrained", [ITSELF, ...told], view.get("constrained"));
  fill("baseline", [ITSELF, ...keys], view.get("baseline"));
}

async function load() {
  await guarded(async () => {
    if (!(await loadChoices())) {
      showNothing("Train some seeds under the constraint and some without, and one run that is made to fail.");
      return;
    }
    const project = choices.elements.project.value;
    byId("to-compare").href = `/compare?${new URLSearchParams({ project })}`;
    const asked = Object.fromEntries(NAMES.map((name) => [name, view.get(name)]));
    try {
      const verdict = await get("verdict", { ...asked, project });
      offerGroups(verdict);
      showVerdict(verdict);
      showNumbers(verdict);
    } catch (error) {
      if (!(error instanceof ApiError) || ![404, 422].includes(error.status)) throw error;
      showNothing(`${error.message}.`);
    }
  });
}

const pulse = new Pulse(load, 3000);

choices.addEventListener("change", (event) => {
  const { name, value } = event.target;
  const forgotten = NAMES.slice(NAMES.indexOf(name) + 1);
  const groups = name === "constrained" ? [] : forgotten;
  view.set({ ...Object.fromEntries(groups.map((one) => [one, null])), [name]: value });
  load();
});
choices.addEventListener("submit", (event) => event.preventDefault());
view.onBack(load);

const live = openShell();
for (const kind of ["open", "alert", "run", "back"]) live.on(kind, () => pulse.beat());
pulse.beat();
