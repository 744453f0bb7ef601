// The page of all alerts.

import { alertCard } from "./alert.js";
import { get } from "./api.js";
import { byId, element, reconcile, setText } from "./element.js";
import { whole } from "./format.js";
import { Pulse } from "./pulse.js";
import { guarded, openShell } from "./shell.js";
import { View } from "./view.js";

const PAGE = 50;
const NAMES = ["state", "severity", "project"];

const names = new Map();
const view = new View();
const filters = byId("filters");
let shown = PAGE;

function offerProjects(alerts) {
  const select = filters.elements.project;
  const known = new Set([...select.options].map((option) => option.value));
  for (const project of [view.get("project"), ...alerts.map((alert) => alert.project)]) {
    if (project && !known.has(project)) {
      known.add(project);
      select.append(element("option", { value: project }, project));
    }
  }
}

// Alerts name runs by their ids; people know them by name.
async function learnNames(alerts) {
  const unknown = alerts.some((alert) => !names.has(alert.run_id) && !alert.run_id.startsWith("group:"));
  if (!unknown) return;
  const { runs } = await get("runs", { limit: 500 });
  for (const run of runs) names.set(run.run_id, run.name);
}

function showEmpty(total) {
  const empty = byId("empty");
  empty.hidden = total > 0;
  if (total > 0) return;
  if (NAMES.some((name) => view.get(name))) {
    empty.replaceChildren(element("strong", {}, "No alert matches"), "Choose “all” in the filters above to see every alert.");
  } else {
    empty.replaceChildren(element("strong", {}, "No alerts"), "Nothing has fired so far. When a rule does, it appears here by itself, with its reason and what to do.");
  }
}

async function load() {
  await guarded(async () => {
    const asked = Object.fromEntries(NAMES.map((name) => [name, view.get(name)]));
    const { alerts, total } = await get("alerts", { ...asked, limit: shown });
    offerProjects(alerts);
    readFilters();
    await learnNames(alerts);
    const named = alerts.map((alert) => ({ ...alert, name: names.get(alert.run_id) }));
    const options = { runLink: true, onAcknowledged: () => pulse.beat() };
    reconcile(byId("alerts"), named, (alert) => `${alert.run_id}/${alert.alert_id}`, (alert) => alertCard(alert, options));
    showEmpty(total);
    byId("more").hidden = alerts.length >= total;
    const firing = alerts.filter((alert) => alert.state === "firing").length;
    setText(byId("tally"), total ? `${whole(total)} in all, ${whole(firing)} of those shown firing` : "");
  });
}

const pulse = new Pulse(load);

function readFilters() {
  for (const name of NAMES) filters.elements[name].value = view.get(name);
}

filters.addEventListener("change", (event) => {
  view.set({ [event.target.name]: event.target.value });
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
for (const kind of ["alert", "run", "back"]) live.on(kind, () => pulse.beat());
readFilters();
pulse.beat();
