// The page of all runs.

import { get } from "./api.js";
import { byId, element, reconcile, setText } from "./element.js";
import { whole } from "./format.js";
import { listenToKeys } from "./keys.js";
import { Pager } from "./pager.js";
import { Pulse } from "./pulse.js";
import { RowCursor } from "./row_cursor.js";
import { runRow } from "./run_row.js";
import { Selection } from "./selection.js";
import { guarded, openShell } from "./shell.js";
import { Sorting } from "./sorting.js";
import { Sparks } from "./spark.js";
import { View } from "./view.js";

const PAGE = 50;
const FILTERS = ["q", "project", "state"];

const view = new View();
const filters = byId("filters");
const rows = byId("runs").tBodies[0];
const cursor = new RowCursor(rows, "tr", "a");
const selection = new Selection(byId("selection"));
const sparks = new Sparks();
const pulse = new Pulse(load);
const pager = new Pager(byId("pager"), view, PAGE, () => pulse.beat());
const sorting = new Sorting(byId("runs"), filters.elements.sort, view, () => pulse.beat());

function showEmpty(total) {
  byId("runs").hidden = total === 0;
  const empty = byId("empty");
  empty.hidden = total > 0;
  if (total > 0) return;
  if (FILTERS.some((name) => view.get(name))) {
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

function offerProjects(projects) {
  const select = filters.elements.project;
  const known = new Set([...select.options].map((option) => option.value));
  for (const project of [view.get("project"), ...projects]) {
    if (project && !known.has(project)) {
      known.add(project);
      select.append(element("option", { value: project }, project));
    }
  }
  select.value = view.get("project");
}

async function load() {
  await guarded(async () => {
    const asked = Object.fromEntries(FILTERS.map((name) => [name, view.get(name)]));
    const { runs, total } = await get("runs", { ...asked, ...sorting.asked, ...pager.asked });
    if (pager.isBeyond(total)) {
      pulse.beat();
      return;
    }
    offerProjects(runs.map((run) => run.project));
    const build = (run) => runRow(run, (one) => sparks.picture(one), selection.box(run));
    cursor.keep(() => reconcile(rows, runs, (run) => run.run_id, build));
    showEmpty(total);
    const running = runs.filter((run) => run.state === "running").length;
    setText(byId("tally"), total ? `${whole(total)} in all, ${running} of those shown running` : "");
  });
}

function readFilters() {
  for (const name of FILTERS) {
    if (filters.elements[name] !== document.activeElement) filters.elements[name].value = view.get(name);
  }
  sorting.show();
}

filters.addEventListener("input", (event) => {
  if (!FILTERS.includes(event.target.name)) return;
  view.set({ [event.target.name]: event.target.value, page: null }, { replace: event.target.name === "q" });
  pulse.beat();
});
filters.addEventListener("submit", (event) => event.preventDefault());
filters.elements.q.addEventListener("keydown", (event) => {
  if (event.key === "Escape") event.target.blur();
});
view.onBack(() => {
  readFilters();
  pulse.beat();
});

listenToKeys([
  { keys: ["j", "ArrowDown"], words: "next run", act: () => cursor.move(1), when: (event) => event.key === "j" || cursor.row },
  { keys: ["k", "ArrowUp"], words: "previous run", act: () => cursor.move(-1), when: (event) => event.key === "k" || cursor.row },
  { keys: ["Enter"], words: "open the run", act: () => cursor.press("a"), when: () => cursor.row && document.activeElement.tagName !== "A" },
  { keys: ["x"], words: "select the run, to compare it", act: () => cursor.press("input.choice") },
  { keys: ["/"], words: "search", act: () => filters.elements.q.focus() },
]);

const live = openShell();
for (const kind of ["open", "step", "judged", "alert", "run", "back"]) live.on(kind, () => pulse.beat());
live.on("back", offerAllProjects);
readFilters();
pulse.beat();
offerAllProjects();

async function offerAllProjects() {
  await guarded(async () => offerProjects((await get("about")).projects));
}
