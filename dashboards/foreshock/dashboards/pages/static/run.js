// The page of one run: is it safe, which layer moves, since when; then the figures.

import { get, path } from "./api.js";
import { alertCard, reasonOf, severity, since, stateOf } from "./alert.js";
import { Chart } from "./chart.js";
import { byId, element, reconcile, setText } from "./element.js";
import { ruleName, whole } from "./format.js";
import { Pulse } from "./pulse.js";
import { showConfig, showHead } from "./head.js";
import { showVitals } from "./vitals.js";
import { guarded, openShell } from "./shell.js";
import { drawStrip } from "./strip.js";
import { View } from "./view.js";
import { healthOf, layerGains } from "./health.js";

const RUN_ID = decodeURIComponent(window.location.pathname.split("/").filter(Boolean).at(-1));
const WHERE = `runs/${path(RUN_ID)}`;
const DEFAULT_MAP = "layer_amax_forward_max";
const MAX_CARDS = 3;
const DETAIL_MS = 5000;
const CLOCK_MS = 10000;
const IS_TOUCH = window.matchMedia("(pointer: coarse)").matches;
const WHOLE_RUN = IS_TOUCH ? "whole run" : "whole run · drag on a figure to zoom all";

const view = new View();
const state = { run: null, alerts: [], latest: null, detailAt: 0, alertsDirty: true, detailDirty: true };

function figureSource(name) {
  return () => {
    const start = view.step("from");
    const stop = view.step("to");
    const parameters = { start, stop, attempt: view.step("attempt"), buckets: buckets(name) };
    if (name === "gain_map") parameters.series = view.get("map", DEFAULT_MAP);
    if (name === "loss" && view.get("log") === "1") parameters.log_y = "true";
    return { where: `${WHERE}/figures/${path(name)}`, parameters, start, stop };
  };
}

// A bucket narrower than a pixel is work for nothing.
function buckets(name) {
  const width = document.querySelector(`[data-figure="${name}"]`).clientWidth;
  return width > 1100 ? 500 : width > 500 ? 400 : 250;
}

function zoom(start, stop) {
  view.set({ from: start, to: stop });
  showWindow();
  drawFigures();
}

let charts = [];

// Figures are asked for once the run is known to exist.
function makeCharts() {
  if (charts.length) return;
  charts = [...document.querySelectorAll("[data-figure]")].map(
    (card) => new Chart(card, figureSource(card.dataset.figure), card.dataset.shape === "steps" ? zoom : null),
  );
}

// One after another: the page stays responsive, and a slow collector gets one question at a time.
async function drawFigures() {
  for (const chart of charts) await chart.refresh();
}

function refreshOne(name) {
  charts.find((chart) => chart.name === name)?.refresh();
}

function showWindow() {
  const [start, stop] = [view.step("from"), view.step("to")];
  const zoomed = start !== null && stop !== null;
  setText(byId("window"), zoomed ? `steps ${whole(start)} to ${whole(stop)}` : WHOLE_RUN);
  byId("reset-zoom").hidden = !zoomed;
}

function showMapChoices(run) {
  const select = byId("map-series");
  const names = (run.series ?? []).filter((one) => one.layers !== null && one.layers !== undefined).map((one) => one.series);
  if (select.options.length === names.length) return;
  select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  select.value = view.get("map", DEFAULT_MAP);
}

function showAttempts(run) {
  const attempts = run.attempts ?? [];
  const numbers = attempts.map((one) => (typeof one === "object" ? one.attempt : one));
  byId("attempt-label").hidden = numbers.length < 2;
  const select = byId("attempt");
  if (select.options.length === numbers.length + 1) return;
  const options = numbers.map((one) => element("option", { value: one }, String(one)));
  select.replaceChildren(element("option", { value: "" }, "newest"), ...options);
  select.value = view.get("attempt");
}

function showHealth() {
  const { run, alerts, latest } = state;
  if (!run) return;
  const health = healthOf(run, alerts, latest);
  byId("health").dataset.level = health.level;
  setText(byId("health").querySelector(".sign"), health.sign);
  setText(byId("health-word"), health.word);
  setText(byId("health-sentence"), health.sentence);
  drawStrip(byId("depth"), layerGains(latest?.values ?? {}));
  showVitals(run, latest);
}

function alertRow(alert) {
  const seen = alert.acknowledged_at ? element("span", { class: "sub" }, "acknowledged") : null;
  return element(
    "tr",
    {},
    element("td", { class: "whole" }, severity(alert), element("span", { class: "sub" }, alert.subject)),
    element("td", { "data-label": "State" }, stateOf(alert), seen),
    element("td", { class: "num", "data-label": "Since step" }, whole(since(alert))),
    element("td", { class: "whole", "data-label": "Reason" }, ...reasonOf(alert)),
  );
}

// The charts must stay in sight: the worst few get a card, one a rule, the others fold away.
function partAlerts(open) {
  const first = open.filter((alert, place) => open.findIndex((one) => one.rule === alert.rule) === place).slice(0, MAX_CARDS);
  return [first, open.filter((alert) => !first.includes(alert))];
}

function showAlerts() {
  const rank = { critical: 0, warning: 1, info: 2 };
  const open = state.alerts.filter((alert) => alert.state === "firing" && !alert.acknowledged_at);
  const exits = (alert) => (String(alert.rule).startsWith("exit") ? 0 : 1);
  open.sort((a, b) => (rank[a.severity] ?? 3) - (rank[b.severity] ?? 3) || exits(a) - exits(b) || since(a) - since(b));
  const key = (alert) => `${alert.run_id}/${alert.alert_id}`;
  const changed = () => {
    state.alertsDirty = true;
    pulse.beat();
  };
  const card = (alert) => alertCard(alert, { onAcknowledged: changed });
  const [first, more] = partAlerts(open);
  reconcile(byId("open-alerts"), first, key, card);
  reconcile(byId("more-open-alerts"), more, key, card);
  byId("more-alerts").hidden = more.length === 0;
  const names = [...new Set(more.map((alert) => ruleName(alert.rule)))].join(", ");
  setText(byId("more-alerts").querySelector("summary"), `${more.length} more open: ${names}`);
  reconcile(byId("alerts").tBodies[0], state.alerts, key, alertRow);
  byId("alerts").hidden = state.alerts.length === 0;
  byId("no-alerts").hidden = state.alerts.length > 0;
  const words = "Rules watch this run as it trains; what they find appears here by itself.";
  byId("no-alerts").replaceChildren(element("strong", {}, "No alerts"), words);
}

async function loadDetail() {
  if (!state.detailDirty && performance.now() - state.detailAt < DETAIL_MS) return;
  state.run = await get(WHERE);
  state.detailAt = performance.now();
  state.detailDirty = false;
  showHead(state.run);
  showConfig(state.run);
  showMapChoices(state.run);
  showAttempts(state.run);
}

async function loadAlerts() {
  if (!state.alertsDirty) return;
  const { alerts } = await get(`${WHERE}/alerts`, { limit: 500 });
  state.alerts = alerts;
  state.alertsDirty = false;
  showAlerts();
}

async function load() {
  await guarded(async () => {
    try {
      await loadDetail();
    } catch (error) {
      if (error.status === 404) return showMissing(error);
      throw error;
    }
    makeCharts();
    state.latest = await get(`${WHERE}/latest`);
    await loadAlerts();
    showHealth();
    await drawFigures();
  });
}

function showMissing(error) {
  const link = element("a", { href: "/" }, "See all runs");
  const words = [element("strong", {}, "No such run"), `${error.message}. `, link, "."];
  byId("main").replaceChildren(element("div", { class: "card empty" }, words));
  pulse.pause(true);
}

const pulse = new Pulse(load);

function everythingIsNew() {
  state.alertsDirty = true;
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
byId("map-series").addEventListener("change", (event) => {
  view.set({ map: event.target.value === DEFAULT_MAP ? null : event.target.value });
  refreshOne("gain_map");
});
byId("attempt").addEventListener("change", (event) => {
  view.set({ attempt: event.target.value, from: null, to: null });
  showWindow();
  drawFigures();
});
byId("log-loss").addEventListener("change", (event) => {
  view.set({ log: event.target.checked ? "1" : null });
  refreshOne("loss");
});

function readView() {
  byId("log-loss").checked = view.get("log") === "1";
  byId("map-series").value = view.get("map", DEFAULT_MAP);
  byId("attempt").value = view.get("attempt");
  showWindow();
}

view.onBack(() => {
  readView();
  drawFigures();
});

// A silent run sends no news, so that it is silent must be told by the clock.
window.setInterval(() => state.run && showHead(state.run), CLOCK_MS);

const live = openShell(RUN_ID);
live.on("step", () => pulse.beat());
live.on("alert", () => {
  state.alertsDirty = true;
  pulse.beat();
});
live.on("run", everythingIsNew);
live.on("back", everythingIsNew);
readView();
pulse.beat();
