// The page that compares groups of seeds: spread, timelines, and whether the fix may be trusted.

import { ApiError, get } from "./api.js";
import { Chart } from "./chart.js";
import { byId, element, reconcile, setText } from "./element.js";
import { gain, number, ruleName, toNumber, visible, whole } from "./format.js";
import { about } from "./caller.js";
import { groupings } from "./groupings.js";
import { listenToKeys } from "./keys.js";
import { Pulse } from "./pulse.js";
import { guarded, openShell } from "./shell.js";
import { View } from "./view.js";

const FIRST_COLUMNS = ["composite_amax_forward_max", "composite_amax_forward_mean", "loss", "grad_norm"];
const MOST_RUNS = 500;
const MOST_PICKED = 50;
const FIRST_KEYS = ["connection", "group", "num_streams", "precision", "learning_rate"];
const WORDS = {
  restart: ["✓", "Restart"],
  wait: ["!", "Wait"],
  undecided: ["?", "Not decided yet"],
};
const SENTENCES = {
  restart: "The constrained runs stay near 1 and their seeds agree significantly better than the unconstrained ones.",
  wait: "The evidence speaks against restarting now.",
  undecided: "The evidence does not suffice for a decision either way.",
};

const MAX_REPORTED = 20;
const view = new View();
const choices = byId("choices");
// Every run is then a group of its own
const EACH = "run";
let runs = [];

// The runs that somebody picked; none: all of the project.
const picked = () => view.get("runs").split(",").filter(Boolean);

function chosen() {
  const field = (name) => choices.elements[name].value;
  return { project: field("project"), run: picked(), group_by: field("group_by"), column: field("column"), reduce: field("reduce") };
}

function source(name) {
  const where = `compare/figures/${name}`;
  return () => ({ where, parameters: { ...chosen(), buckets: 400 }, start: null, stop: null });
}

const charts = ["seeds", "timelines"].map((name) => new Chart(document.querySelector(`[data-figure="${name}"]`), source(name)));

// Further figures appear where the collector says that it draws them.
function showFigures(names) {
  for (const slot of document.querySelectorAll("template.slot")) {
    const card = slot.content.querySelector("[data-figure]");
    const name = card.dataset.figure;
    if (!names.includes(name)) continue;
    slot.replaceWith(card);
    charts.push(new Chart(card, source(name)));
  }
}

function fill(name, values, preferred, words = visible) {
  const select = choices.elements[name];
  const wanted = view.get(name) || preferred.find((one) => values.includes(one)) || values[0] || "";
  const all = wanted && !values.includes(wanted) ? [wanted, ...values] : values;
  if ([...select.options].map((option) => option.value).join("\n") !== all.join("\n")) {
    select.replaceChildren(...all.map((one) => element("option", { value: one }, words(one))));
  }
  select.value = wanted;
}

// A signal is chosen from hundreds, so it is typed, and those that fit are offered.
function fillSignal(series) {
  const names = series.map((one) => one.series);
  const list = byId("signals");
  if (list.dataset.names !== names.join("\n")) {
    list.dataset.names = names.join("\n");
    list.replaceChildren(...names.map((name) => element("option", { value: name })));
  }
  const input = choices.elements.column;
  if (input === document.activeElement) return;
  input.value = view.get("column") || FIRST_COLUMNS.find((one) => names.includes(one)) || names[0] || "";
}

async function loadChoices() {
  const only = picked();
  const found = only.length ? await runsOf(only) : [];
  const projects = only.length ? [...new Set(found.map((run) => run.project))] : (await about({ again: true })).projects;
  fill("project", only.length > 0 && projects.length > 1 ? ["", ...projects] : projects, [], (name) => visible(name) || "all of the chosen");
  const project = choices.elements.project.value;
  const ofProject = async () => (await get("runs", { project, limit: MOST_RUNS })).runs;
  runs = only.length ? found.filter((run) => !project || run.project === project) : project ? await ofProject() : [];
  const keys = [...groupings(runs), EACH];
  const first = only.length ? [EACH] : FIRST_KEYS.filter((key) => keys.indexOf(key) < 12);
  fill("group_by", keys, first, (key) => (key === EACH ? "each run by itself" : visible(key)));
  const series = runs.length ? (await get(`runs/${encodeURIComponent(runs[0].run_id)}`)).series ?? [] : [];
  fillSignal(series);
  choices.elements.reduce.value = view.get("reduce", "max");
  const perLayer = series.some((one) => one.series === choices.elements.column.value && one.layers);
  choices.elements.reduce.disabled = !perLayer;
}

// Picked runs may lie anywhere in a long list; one that was deleted meanwhile is left out.
async function runsOf(ids) {
  const asked = ids.slice(0, MOST_PICKED).map((id) => get(`runs/${encodeURIComponent(id)}`).catch((error) => {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }));
  return (await Promise.all(asked)).filter(Boolean);
}

function showPicked() {
  const count = picked().length;
  byId("picked").hidden = count === 0;
  setText(byId("picked").querySelector("span"), `${whole(count)} chosen runs`);
  byId("tests-card").hidden = count > 0;
}

function showVerdict(verdict) {
  const card = byId("verdict");
  card.hidden = false;
  card.dataset.state = verdict.state;
  const [sign, word] = WORDS[verdict.state] ?? ["?", verdict.state];
  setText(card.querySelector(".sign"), sign);
  setText(byId("verdict-word"), word);
  setText(byId("verdict-sentence"), SENTENCES[verdict.state] ?? "");
  byId("reasons").replaceChildren(...list("Why", verdict.reasons));
  byId("missing").replaceChildren(...list("Still missing", verdict.missing), ...list("Bear in mind", verdict.notes));
}

function list(title, items) {
  if (!items || !items.length) return [];
  return [element("h2", {}, title), element("ul", {}, items.map((item) => element("li", {}, item)))];
}

function testRow([name, test]) {
  const interval = Array.isArray(test.interval) ? `${number(test.interval[0], 3)} to ${number(test.interval[1], 3)}` : "–";
  return element(
    "tr",
    {},
    element("td", { class: "whole" }, ruleName(name)),
    element("td", { "data-label": "Test" }, test.test ?? "–"),
    element("td", { class: "num", "data-label": "p" }, number(test.p_value)),
    element("td", { class: "num", "data-label": "Effect" }, gain(test.effect)),
    element("td", { class: "num", "data-label": "Interval" }, interval),
    element("td", { "data-label": "Evidence" }, (test.is_weak ?? test.weak) ? "weak: few seeds" : "full"),
  );
}

function showTests(tests) {
  const rows = Object.entries(tests ?? {}).filter(([, test]) => test);
  reconcile(byId("tests").tBodies[0], rows, ([name]) => name, testRow);
  byId("tests").hidden = rows.length === 0;
  byId("no-tests").hidden = rows.length > 0;
  const words =
    "A test of the spread needs at least three seeds in a constrained and in an unconstrained group, " +
    "for example three runs with connection=mhc and three with connection=hc.";
  byId("no-tests").replaceChildren(element("strong", {}, "Nothing to test yet"), words);
}

function groupRow({ key, run, repeats }) {
  const peak = toNumber(run.log_peak_gain);
  const loss = toNumber(run.final_loss);
  const isBroken = loss !== null && !Number.isFinite(loss);
  const link = element("a", { href: `/runs/${encodeURIComponent(run.run_id)}` }, visible(run.name || run.run_id));
  const id = repeats ? element("span", { class: "sub" }, run.run_id) : null;
  return element(
    "tr",
    {},
    element("td", { "data-label": "Group" }, key),
    element("td", { "data-label": "Run" }, link, id),
    element("td", { class: "num", "data-label": "Seed" }, run.seed === null || run.seed === undefined ? "–" : String(run.seed)),
    element("td", { "data-label": "State" }, element("span", { class: "badge", "data-state": run.state }, run.state)),
    element("td", { class: "num", "data-label": "Steps" }, whole(run.last_step + 1)),
    element("td", { class: `num ${isBroken ? "off" : ""}`, "data-label": "Final loss" }, number(loss)),
    element("td", { class: "num", "data-label": "Peak gain, mean over tokens" }, peak === null ? "–" : gain(Math.exp(peak))),
  );
}

function showGroups(groups) {
  const names = groups.flatMap((group) => group.runs.map((run) => run.name));
  const repeats = (name) => names.indexOf(name) !== names.lastIndexOf(name);
  const rows = groups.flatMap((group) => group.runs.map((run) => ({ key: group.key, run, repeats: repeats(run.name) })));
  reconcile(byId("groups").tBodies[0], rows, ({ key, run }) => `${key}/${run.run_id}`, groupRow);
  byId("groups").hidden = rows.length === 0;
  byId("no-runs").hidden = rows.length > 0;
  byId("no-runs").replaceChildren(
    element("strong", {}, "No runs to compare"),
    "Train the same configuration with several seeds, and at least one other configuration beside it: ",
    element("code", {}, "foreshock demo"),
    " does both.",
  );
  const reported = [...new Set(rows.map(({ run }) => run.run_id))].slice(0, MAX_REPORTED);
  byId("report").hidden = reported.length < 2;
  byId("report").href = `/compare/report?${new URLSearchParams(reported.map((id) => ["run", id]))}`;
  setText(byId("report"), reported.length < MAX_REPORTED ? "Report" : `Report of the first ${MAX_REPORTED}`);
  setText(byId("tally"), rows.length ? `${whole(groups.length)} groups, ${whole(rows.length)} runs` : "");
}

// A key may be looked at that makes no groups of seeds; there is then no verdict, and why is said below.
async function loadVerdict(asked) {
  byId("to-verdict").href = `/verdict?${new URLSearchParams(asked)}`;
  try {
    const verdict = await get("verdict", asked);
    showVerdict(verdict);
    showTests(verdict.tests);
  } catch (error) {
    if (!(error instanceof ApiError) || ![404, 422].includes(error.status)) throw error;
    byId("verdict").hidden = true;
    showTests({});
    byId("no-tests").replaceChildren(element("strong", {}, "No verdict"), `${error.message}.`);
  }
}

async function load() {
  await guarded(async () => {
    showPicked();
    await loadChoices();
    if (!runs.length) {
      showGroups([]);
      showTests({});
      return;
    }
    const asked = chosen();
    // What a link shows must not change with the next run
    view.set({ ...asked, run: null }, { replace: true });
    const { groups, figures } = await get("compare", { ...asked, buckets: 50 });
    showFigures(figures);
    showGroups(groups);
    if (picked().length || asked.group_by === EACH) byId("verdict").hidden = true;
    else await loadVerdict({ project: asked.project, group_by: asked.group_by });
    for (const chart of charts) await chart.refresh();
  });
}

const pulse = new Pulse(load, 3000);

choices.addEventListener("change", (event) => {
  const changes = { [event.target.name]: event.target.value };
  if (event.target.name === "project") Object.assign(changes, { group_by: null, column: null });
  view.set(changes);
  load();
});
byId("picked").querySelector("button").addEventListener("click", () => {
  view.set({ runs: null, group_by: null, project: null });
  load();
});
listenToKeys([{ keys: ["/"], words: "choose a signal", act: () => choices.elements.column.select() }]);
choices.addEventListener("submit", (event) => event.preventDefault());
view.onBack(load);

const live = openShell();
for (const kind of ["open", "step", "judged", "alert", "run", "back"]) live.on(kind, () => pulse.beat());
pulse.beat();
