// The page of all runs.

import { get } from "./api.js";
import { gapsOf } from "./coverage.js";
import { byId, element, reconcile, setText } from "./element.js";
import { ago, bits, gain, number, ruleName, visible, whole } from "./format.js";
import { Pulse } from "./pulse.js";
import { guarded, openShell } from "./shell.js";
import { gainClass, headroomClass } from "./health.js";
import { View } from "./view.js";
import { levelOf, summaryOf } from "./summary.js";

const PAGE = 50;
const SIGNS = { safe: "✓", watch: "!", risk: "!", dead: "✕", partial: "–", unknown: "…" };
const LEVELS = {
  safe: "safe",
  watch: "to be watched",
  risk: "at risk",
  dead: "diverged or crashed",
  partial: "no open alerts in what was seen",
  unknown: "no data yet",
};

const view = new View();
const filters = byId("filters");
let shown = PAGE;

function mark(run) {
  const level = levelOf(run);
  const gaps = level === "partial" ? ` (${gapsOf(run).join("; ")})` : "";
  const words = LEVELS[level] + gaps;
  const attributes = { class: "mark", "data-level": level, role: "img", "aria-label": words, title: words };
  return element("span", attributes, SIGNS[level]);
}

function nameCell(run) {
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
  if (!lastAlert) return element("td", { class: "none whole", "data-label": "Last alert" }, "none");
  const step = lastAlert.fired_step ?? lastAlert.opened_step;
  const more = numFiring > 1 ? `; ${numFiring} firing` : "";
  const words = { class: "severity", "data-severity": lastAlert.severity, "data-state": lastAlert.state };
  return element(
    "td",
    { class: "whole", "data-label": "Last alert" },
    element("span", words, ruleName(lastAlert.rule)),
    element("span", { class: "sub" }, `step ${whole(step)}, ${lastAlert.state}${more}`),
  );
}

function stateCell(run) {
  const attributes = { class: "badge", "data-state": run.state, title: `heard ${ago(run.heartbeat_at)}` };
  return element("td", { "data-label": "State" }, element("span", attributes, run.state));
}

function row(run) {
  const { loss, worstGain, worstLayer, headroom } = summaryOf(run);
  const where = worstLayer === null ? null : element("span", { class: "sub" }, `layer ${worstLayer} moves most`);
  return element(
    "tr",
    {},
    nameCell(run),
    stateCell(run),
    element("td", { class: "num", "data-label": "Seed" }, run.seed === null || run.seed === undefined ? "–" : String(run.seed)),
    stepCell(run),
    element("td", { class: `num ${loss !== null && !Number.isFinite(loss) ? "off" : ""}`, "data-label": "Loss" }, number(loss)),
    element("td", { class: `num ${gainClass(worstGain)}`, "data-label": "Worst gain" }, gain(worstGain), where),
    element("td", { class: `num ${headroomClass(headroom)}`, "data-label": "Headroom" }, bits(headroom)),
    alertCell(run),
  );
}

function showEmpty(total) {
  const filtered = ["q", "project", "state"].some((name) => view.get(name));
  byId("runs").hidden = total === 0;
  const empty = byId("empty");
  empty.hidden = total > 0;
  if (total > 0) return;
  if (filtered) {
    empty.replaceChildren(element("strong", {}, "No run matches"), "Take something out of the search or the filters above.");
    return;
  }
  const lines = [
    "from foreshock.probe import attach",
    "",
    `probe = attach(model, optimizer, url="${window.location.origin}")`,
    "for batch in data:",
    "    ...",
    "    probe.step(loss=loss)",
  ];
  empty.replaceChildren(
    element("strong", {}, "No runs yet"),
    "Attach the probe to a training loop, or run ",
    element("code", {}, "foreshock demo"),
    ".",
    element("br"),
    element("pre", {}, lines.join("\n")),
  );
}

function offerProjects(runs) {
  const select = filters.elements.project;
  const known = new Set([...select.options].map((option) => option.value));
  for (const project of [view.get("project"), ...runs.map((run) => run.project)]) {
    if (project && !known.has(project)) {
      known.add(project);
      select.append(element("option", { value: project }, project));
    }
  }
  select.value = view.get("project");
}

async function load() {
  await guarded(async () => {
    const asked = { q: view.get("q"), project: view.get("project"), state: view.get("state"), limit: shown };
    const { runs, total } = await get("runs", asked);
    offerProjects(runs);
    reconcile(byId("runs").tBodies[0], runs, (run) => run.run_id, row);
    showEmpty(total);
    byId("more").hidden = runs.length >= total;
    const running = runs.filter((run) => run.state === "running").length;
    setText(byId("tally"), total ? `${whole(total)} in all, ${running} running` : "");
  });
}

const pulse = new Pulse(load);

function readFilters() {
  for (const name of ["q", "project", "state"]) {
    if (filters.elements[name] !== document.activeElement) filters.elements[name].value = view.get(name);
  }
}

filters.addEventListener("input", (event) => {
  view.set({ [event.target.name]: event.target.value }, { replace: event.target.name === "q" });
  shown = PAGE;
  pulse.beat();
});
filters.addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", () => {
  shown += PAGE;
  pulse.beat();
});
view.onBack(() => {
  readFilters();
  pulse.beat();
});

const live = openShell();
for (const kind of ["step", "alert", "run", "back"]) live.on(kind, () => pulse.beat());
readFilters();
pulse.beat();
