// The page of one layer: every signal of it over steps, against all layers of the run.

import { get, path } from "./api.js";
import { Board } from "./board.js";
import { found } from "./catalogue.js";
import { Cursor } from "./cursor.js";
import { byId, element, reconcile, setText } from "./element.js";
import { FigureTools } from "./figure_tools.js";
import { number, toNumber, visible, whole } from "./format.js";
import { listenToKeys } from "./keys.js";
import { layerAddress } from "./layer_links.js";
import { Pulse } from "./pulse.js";
import { guarded, notice, openShell } from "./shell.js";
import { showSpan } from "./span.js";
import { View } from "./view.js";

const [RUN_ID, LAYER] = placeOf(window.location.pathname);
const WHERE = `runs/${path(RUN_ID)}`;

const HELP = "Each panel is a signal: this layer as a line, the median layer dashed, the range of all layers behind.";

const view = new View();
const state = { run: null, latest: null, figures: [], lastHeard: null };

function placeOf(address) {
  const [, run, , layer] = address.split("/").filter(Boolean).map(decodeURIComponent);
  return [run, /^\d{1,9}$/.test(layer) ? Number(layer) : -1];
}

const tools = new FigureTools(view, { subject: () => `${visible(state.run?.name || RUN_ID)}, layer ${LAYER}`, mapWhere: `${WHERE}/map` });
const board = new Board(byId("figures"), { sourceOf, onZoom: zoom, toolsOf: (entry, chart) => tools.of(entry, chart) });
const cursor = new Cursor(byId("figures"), () => board.shown, () => {});

function sourceOf(entry, card) {
  const [start, stop, attempt] = [view.step("from"), view.step("to"), view.step("attempt")];
  const asked = { start, stop, attempt, buckets: card.clientWidth > 500 ? 400 : 250 };
  return { where: `${WHERE}/layers/${path(LAYER)}/figures/${path(entry.name)}`, parameters: asked, start, stop };
}

function zoom(start, stop) {
  view.set({ from: start, to: stop });
  showWindow();
  board.draw();
}

function showWindow() {
  showSpan(view);
  showLinks();
}

function layersOf(run) {
  return run.series.filter((one) => one.layers !== null && one.layers !== undefined);
}

// Every link on keeps the window.
function showLinks() {
  if (!state.run) return;
  const count = Math.max(0, ...layersOf(state.run).map((one) => one.layers));
  for (const [id, layer] of [["previous", LAYER - 1], ["next", LAYER + 1]]) {
    byId(id).hidden = layer < 0 || layer >= count;
    setText(byId(id), id === "previous" ? `← Layer ${layer}` : `Layer ${layer} →`);
    byId(id).href = layerAddress(RUN_ID, layer, view);
  }
  const back = `/runs/${path(RUN_ID)}${window.location.search}`;
  byId("back").href = back;
  byId("run").href = back;
  const select = byId("layer");
  if (select.options.length !== count) {
    select.replaceChildren(...Array.from({ length: count }, (_, layer) => element("option", { value: layer }, `Layer ${layer}`)));
  }
  select.value = String(LAYER);
}

function showHead() {
  const name = visible(state.run.name || state.run.run_id);
  document.title = `Layer ${LAYER} · ${name} · foreshock`;
  setText(byId("name"), `Layer ${LAYER}`);
  setText(byId("project"), visible(state.run.project));
  byId("project").href = `/?project=${encodeURIComponent(state.run.project)}`;
  setText(byId("run"), name);
  const badge = element("span", { class: "badge", "data-state": state.run.state }, state.run.state);
  const silent = state.lastHeard === null ? null : element("span", { class: "off" }, `nothing of this layer since step ${whole(state.lastHeard)}`);
  const step = element("span", {}, "step ", element("b", {}, whole(state.latest?.step ?? state.run.last_step)));
  byId("facts").replaceChildren(...[badge, step, silent].filter(Boolean));
}

function showNow() {
  const rows = layersOf(state.run).map(({ series, layers }) => rowOf(series, layers)).filter(Boolean);
  const build = ({ cells, isEdge }) =>
    element("tr", {}, cells.map((cell, at) => (at ? element("td", { class: isEdge && at === 1 ? "num uneasy" : "num" }, cell) : element("th", { scope: "row" }, cell))));
  reconcile(byId("now").tBodies[0], rows, ({ cells }) => cells[0], build);
  const broken = rows.filter((row) => row.cells[5] === "–").length;
  if (broken) return setText(byId("now-reading"), `Not finite in ${broken} of ${rows.length} signals.`);
  const edges = rows.filter((row) => row.isEdge).map((row) => row.cells[0]);
  const told = `The highest or lowest of all layers in ${edges.length} of ${rows.length} signals`;
  setText(byId("now-reading"), edges.length ? `${told}: ${edges.slice(0, 5).join(", ")}${edges.length > 5 ? " …" : ""}.` : "Among the other layers in every signal.");
}

// A signal of this layer among all layers, by the newest values.
function rowOf(series, layers) {
  const values = Array.from({ length: layers }, (_, layer) => toNumber(state.latest?.values[`${series}[${layer}]`]));
  const own = values[LAYER] ?? null;
  if (own === null) return null;
  const sorted = values.filter((value) => Number.isFinite(value) && value !== null).sort((a, b) => b - a);
  const rank = Number.isFinite(own) ? sorted.indexOf(own) + 1 : null;
  const isEdge = rank === null || (sorted.length > 2 && (rank === 1 || rank === sorted.length));
  const told = [own, sorted[sorted.length >> 1], sorted.at(-1), sorted[0]].map((value) => number(value ?? null));
  return { cells: [series, ...told, rank === null ? "–" : `${rank} of ${sorted.length}`], isEdge };
}

// A layer that fell silent while another goes on: the last step that it told of.
async function listenForSilence() {
  const told = layersOf(state.run).find(({ series, layers }) => layers > 1 && `${series}[${LAYER}]` in state.latest.values);
  if (!told) return;
  const column = [LAYER, LAYER ? 0 : 1].map((layer) => `${told.series}[${layer}]`);
  const { series } = await get(`${WHERE}/series`, { column, buckets: 1 });
  const [own, other] = column.map((name) => series.find((one) => one.column === name)?.last_step.at(-1) ?? -1);
  state.lastHeard = own < other ? own : null;
}

function showFigures() {
  const figures = found(state.figures, view.get("q"));
  board.show(figures);
  byId("no-figures").hidden = figures.length > 0;
  const told = state.figures.length ? "No signal is called so." : `Layer ${LAYER} has told nothing yet.`;
  const next = state.figures.length ? "Clear the search to see all of them." : "Go back to the run: its map names the layers that there are.";
  byId("no-figures").replaceChildren(element("strong", {}, told), next);
}

// A layer that the run lacks has no figures; one that begins late has them once it tells something.
async function listFigures() {
  if (LAYER < 0 || state.figures.length) return;
  const { figures } = await get(`${WHERE}/layers/${path(LAYER)}/figures`);
  const shared = { help: HELP, family: "layer", over: "steps", options: [] };
  state.figures = figures.map(({ name, title }) => ({ ...shared, name, title: title.charAt(0).toUpperCase() + title.slice(1) }));
}

async function load() {
  await guarded(async () => {
    try {
      state.run = await get(WHERE);
      state.latest = await get(`${WHERE}/latest`);
      await listenForSilence();
    } catch (error) {
      if (error.status === 404) return showMissing(error);
      throw error;
    }
    showHead();
    const before = state.figures.length;
    await listFigures();
    if (!before) showFigures();
    showNow();
    showWindow();
    await board.draw();
  });
}

function showMissing(error) {
  pulse.pause(true);
  if (state.run) return notice("This run was deleted. What you see is what this page had read of it; nothing new will come.", "gone");
  const words = [element("strong", {}, "No such run"), `${error.message}. `, element("a", { href: "/" }, "See all runs"), "."];
  byId("main").replaceChildren(element("div", { class: "card empty" }, words));
}

const pulse = new Pulse(load);

byId("reset-zoom").addEventListener("click", () => zoom(null, null));
byId("layer").addEventListener("change", (event) => window.location.assign(layerAddress(RUN_ID, event.target.value, view)));
byId("search").addEventListener("input", (event) => {
  view.set({ q: event.target.value }, { replace: true });
  showFigures();
});
byId("search").value = view.get("q");
view.onBack(() => {
  showWindow();
  board.draw();
});

const follow = (id) => byId(id).hidden || byId(id).click();
const help = listenToKeys([
  { keys: ["["], words: "previous layer", act: () => follow("previous") },
  { keys: ["]"], words: "next layer", act: () => follow("next") },
  { keys: ["u"], words: "back to the run, in the same window", act: () => follow("back") },
  { keys: ["j"], words: "next figure", act: () => board.step(1) },
  { keys: ["k"], words: "previous figure", act: () => board.step(-1) },
  { keys: ["ArrowLeft", "ArrowRight"], words: "move the cursor, in a figure", when: () => board.focused(), act: moveCursor },
  { keys: ["/"], words: "search for a signal", act: () => byId("search").focus() },
  { keys: ["0"], words: "show the whole run", act: () => zoom(null, null) },
]);
byId("help").addEventListener("click", () => help.showModal());

function moveCursor(event) {
  cursor.nudge(board.focused(), (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 10 : 1));
}

const live = openShell(RUN_ID);
for (const kind of ["open", "step", "judged", "run", "back"]) live.on(kind, () => pulse.beat());
pulse.beat();
