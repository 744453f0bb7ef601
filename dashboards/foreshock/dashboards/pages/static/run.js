// The page of one run: is it safe, which layer moves, since when; then its figures, family by family.

import { get, path } from "./api.js";
import { Board } from "./board.js";
import { catalogueOf, found, tabsOf } from "./catalogue.js";
import { axisOf, AXES, parametersOf, SMOOTHINGS, smoothingOf } from "./choices.js";
import { Cursor } from "./cursor.js";
import { byId, element, setText } from "./element.js";
import { FigureTools } from "./figure_tools.js";
import { visible } from "./format.js";
import { Happenings } from "./happenings.js";
import { showConfig, showHead } from "./head.js";
import { hasLayer, layerGains, SHOWN_SERIES } from "./health.js";
import { listenToKeys } from "./keys.js";
import { layerAddress, openLayersFrom } from "./layer_links.js";
import { momentsOf } from "./moments.js";
import { openNotes } from "./notes.js";
import { Pulse } from "./pulse.js";
import { showAlerts } from "./run_alerts.js";
import { guarded, notice, openShell } from "./shell.js";
import { showSpan } from "./span.js";
import { drawStrip } from "./strip.js";
import { Tabs } from "./tabs.js";
import { Timeline } from "./timeline.js";
import { View } from "./view.js";
import { showVitals } from "./vitals.js";

const RUN_ID = decodeURIComponent(window.location.pathname.split("/").filter(Boolean).at(-1));
const WHERE = `runs/${path(RUN_ID)}`;
const DETAIL_MS = 5000;
const CLOCK_MS = 10000;

const view = new View();
const happenings = new Happenings(WHERE);
const state = { run: null, latest: null, health: null, detailAt: 0, detailDirty: true, tabs: [] };

const tools = new FigureTools(view, {
  subject: () => visible(state.run?.name || RUN_ID),
  mapWhere: `${WHERE}/map`,
});
const board = new Board(byId("figures"), { sourceOf, onZoom: zoom, toolsOf: (entry, chart) => tools.of(entry, chart) });
const tabs = new Tabs(byId("tabs"), byId("panel"), (id) => {
  byId("search").value = "";
  view.set({ tab: id === "overview" ? null : id, q: null });
  showTab();
});
const timeline = new Timeline(byId("timeline"), zoom);
const cursor = new Cursor(byId("figures"), () => board.shown, (step) => timeline.showCursor(step));
openLayersFrom(byId("figures"), RUN_ID, view);
byId("figures").addEventListener("drawn", (event) => tools.showScale(event.detail));

function sourceOf(entry, card) {
  const parameters = { ...parametersOf(entry, view), buckets: buckets(card.clientWidth) };
  return { where: `${WHERE}/figures/${path(entry.name)}`, parameters, start: parameters.start, stop: parameters.stop };
}

// A bucket narrower than a pixel is work for nothing.
function buckets(width) {
  return width > 1100 ? 500 : width > 500 ? 400 : 250;
}

function zoom(start, stop) {
  view.set({ from: start, to: stop });
  showWindow();
  board.draw();
}

function showWindow() {
  showSpan(view);
  timeline.showWindow(view.step("from"), view.step("to"));
  linkLayer();
}

// What is searched for stands in the place of a tab's figures.
function showTab() {
  const words = view.get("q").trim();
  tabs.choose(view.get("tab", "overview"));
  linkLayer();
  const isOverview = tabs.chosen === "overview" && !words;
  for (const node of document.querySelectorAll("[data-of-overview]")) node.hidden = !isOverview;
  const all = [...new Set(state.tabs.flatMap((tab) => tab.figures))];
  const figures = words ? found(all, words) : (state.tabs.find((tab) => tab.id === tabs.chosen)?.figures ?? []);
  board.show(figures);
  byId("no-figures").hidden = figures.length > 0;
  const [told, next] = words
    ? [`No figure is called “${words}”.`, "Clear the search, or choose another tab."]
    : ["Nothing to draw yet.", "Figures appear by themselves with the first step. Should it train by now? The probe says in the trainer's log where it sends to."];
  byId("no-figures").replaceChildren(element("strong", {}, told), next);
}

function showAttempts(run) {
  const numbers = run.attempts ?? [];
  byId("attempt-label").hidden = numbers.length < 2;
  const select = byId("attempt");
  if (select.options.length === numbers.length + 1) return;
  const options = numbers.map((one) => element("option", { value: one }, String(one)));
  select.replaceChildren(element("option", { value: "" }, "newest"), ...options);
  select.value = view.get("attempt");
}

function showHealth() {
  const { run, latest, health } = state;
  if (!run || !health) return;
  const gains = layerGains(latest?.values ?? {});
  byId("health").dataset.level = health.level;
  setText(byId("health").querySelector(".sign"), health.sign);
  setText(byId("health-word"), health.word);
  setText(byId("health-sentence"), health.sentence);
  drawStrip(byId("depth"), gains);
  showVitals(run, latest, health);
  // The layer that the words name, so that one page names one; where none moves, none
  byId("open-layer").hidden = !hasLayer(health);
  if (!hasLayer(health)) return;
  setText(byId("open-layer"), `Open layer ${health.layer}`);
  linkLayer();
}

// The link carries the view as it is now.
function linkLayer() {
  const { health } = state;
  if (health && hasLayer(health)) byId("open-layer").href = layerAddress(RUN_ID, health.layer, view);
}

function showHappenings() {
  showAlerts(happenings.alerts, () => {
    happenings.isOld = true;
    pulse.beat();
  });
  const end = Math.max(state.run.last_step, state.latest?.step ?? 0, view.step("to") ?? 0);
  timeline.show(momentsOf(happenings, view.step("attempt")), end);
  showWindow();
}

async function loadDetail() {
  if (!state.detailDirty && performance.now() - state.detailAt < DETAIL_MS) return;
  state.run = await get(WHERE);
  state.detailAt = performance.now();
  state.detailDirty = false;
  showHead(state.run);
  showConfig(state.run);
  showAttempts(state.run);
  tools.showSeries(state.run.series.filter((one) => one.layers !== null && one.layers !== undefined).map((one) => one.series));
}

async function loadCatalogue() {
  if (state.tabs.length && state.numSeries === state.run.series.length) return;
  state.numSeries = state.run.series.length;
  const catalogue = await catalogueOf(WHERE);
  state.tabs = tabsOf(catalogue);
  tabs.show(state.tabs);
  for (const choice of byId("axis").options) choice.disabled = !catalogue.axes.includes(choice.value || "step");
  showTab();
}

async function loadLatest() {
  state.latest = await get(`${WHERE}/latest`, { series: SHOWN_SERIES });
}

async function loadHealth() {
  state.health = await get(`${WHERE}/health`);
}

// All at once: figures wait for no words, nor words for figures.
async function load() {
  await guarded(async () => {
    const known = loadDetail().then(loadCatalogue);
    // What keeps the run from being known is told where `known` is waited for
    const drawn = known.then(() => board.draw(), () => {});
    try {
      await Promise.all([known.then(() => happenings.load(state.run)), loadLatest(), loadHealth()]);
    } catch (error) {
      if (error.status === 404) return showMissing(error);
      throw error;
    }
    showHappenings();
    showHealth();
    await drawn;
  });
}

// What was seen of a run that is deleted stays to be read.
function showMissing(error) {
  pulse.pause(true);
  byId("pause").disabled = true;
  if (state.latest) return notice("This run was deleted. What you see is what this page had read of it; nothing new will come.", "gone");
  const link = element("a", { href: "/" }, "See all runs");
  const words = [element("strong", {}, "No such run"), `${error.message}. `, link, "."];
  byId("main").replaceChildren(element("div", { class: "card empty" }, words));
}

const pulse = new Pulse(load);

function everythingIsNew() {
  happenings.isOld = true;
  state.detailDirty = true;
  pulse.beat();
}

byId("reset-zoom").addEventListener("click", () => zoom(null, null));
byId("pause").addEventListener("click", (event) => {
  const paused = event.currentTarget.getAttribute("aria-pressed") !== "true";
  event.currentTarget.setAttribute("aria-pressed", String(paused));
  setText(event.currentTarget, paused ? "Paused: resume" : "Pause");
  pulse.pause(paused);
});
byId("attempt").addEventListener("change", (event) => {
  view.set({ attempt: event.target.value, from: null, to: null });
  showHappenings();
  board.draw();
});
for (const option of ["axis", "smooth"]) {
  byId(option).addEventListener("change", (event) => {
    view.set({ [option]: event.target.value });
    board.redraw(option);
  });
}
byId("search").addEventListener("input", (event) => {
  view.set({ q: event.target.value }, { replace: true });
  showTab();
});
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Escape") event.target.blur();
});

function readView() {
  byId("search").value = view.get("q");
  byId("attempt").value = view.get("attempt");
  byId("axis").value = axisOf(view) === AXES[0] ? "" : axisOf(view);
  byId("smooth").value = smoothingOf(view) ?? "";
  tools.showSeries(tools.series);
  showWindow();
}

view.onBack(() => {
  readView();
  showTab();
  board.draw();
});

byId("smooth").append(...SMOOTHINGS.map((steps) => element("option", { value: steps }, `half-life ${steps} points`)));
const writeNote = openNotes(RUN_ID, {
  stepNow: () => cursor.step ?? view.step("to") ?? Math.max(0, state.run?.last_step ?? 0),
  onNoted: everythingIsNew,
});
const help = listenToKeys([
  { keys: ["j"], words: "next figure", act: () => board.step(1) },
  { keys: ["k"], words: "previous figure", act: () => board.step(-1) },
  { keys: ["ArrowLeft", "ArrowRight"], words: "move the cursor, in a figure", when: () => board.focused(), act: moveCursor },
  { keys: ["["], words: "previous tab", act: () => tabs.move(-1) },
  { keys: ["]"], words: "next tab", act: () => tabs.move(1) },
  { keys: ["/"], words: "search for a figure", act: () => byId("search").focus() },
  { keys: ["0"], words: "show the whole run", act: () => zoom(null, null) },
  { keys: ["l"], words: "open the layer that moves most", act: () => byId("open-layer").hidden || byId("open-layer").click() },
  { keys: ["n"], words: "write a note", act: writeNote },
  { keys: ["p"], words: "pause, and go on", act: () => byId("pause").click() },
]);
byId("help").addEventListener("click", () => help.showModal());

function moveCursor(event) {
  const places = (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 10 : 1);
  cursor.nudge(board.focused(), places);
}

// A silent run sends no news, so that it is silent must be told by the clock.
window.setInterval(() => state.run && showHead(state.run), CLOCK_MS);

byId("report").href = `/runs/${path(RUN_ID)}/report`;
const live = openShell(RUN_ID);
for (const kind of ["open", "step", "judged"]) live.on(kind, () => pulse.beat());
live.on("alert", () => {
  happenings.isOld = true;
  pulse.beat();
});
live.on("run", everythingIsNew);
live.on("back", everythingIsNew);
readView();
pulse.beat();
