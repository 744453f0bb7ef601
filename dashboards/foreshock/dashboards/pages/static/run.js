// The page of one run: is it safe, which layer moves, since when; then the figures.

import { get, path } from "./api.js";
import { alertCard, severity, since } from "./alert.js";
import { Chart } from "./chart.js";
import { byId, element, reconcile, setText } from "./element.js";
import { ago, bits, duration, gain, number, share, toNumber, whole } from "./format.js";
import { Pulse } from "./pulse.js";
import { guarded, openShell } from "./shell.js";
import { drawStrip } from "./strip.js";
import { View } from "./view.js";
import { compositeGains, gainClass, headroomClass, healthOf, layerGains, worstOf } from "./vitals.js";

const RUN_ID = decodeURIComponent(window.location.pathname.split("/").filter(Boolean).at(-1));
const WHERE = `runs/${path(RUN_ID)}`;
const DEFAULT_MAP = "layer_amax_forward_max";
const DETAIL_MS = 5000;

const view = new View();
const state = { run: null, alerts: [], latest: null, detailAt: 0, alertsDirty: true, detailDirty: true };

function figureSource(name, shape) {
  return () => {
    const start = view.step("from");
    const stop = view.step("to");
    const parameters = { start, stop, attempt: view.step("attempt"), buckets: buckets(name) };
    if (name === "gain_map") parameters.series = view.get("map", DEFAULT_MAP);
    if (name === "loss" && view.get("log") === "1") parameters.log_y = "true";
    return { where: `${WHERE}/figures/${path(name)}`, parameters, start, stop, shape };
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

const charts = [...document.querySelectorAll("[data-figure]")].map(
  (card) => new Chart(card, figureSource(card.dataset.figure, card.dataset.shape), card.dataset.shape === "steps" ? zoom : null),
);

// One after another: the page stays responsive, and a slow collector gets one question at a time.
async function drawFigures() {
  for (const chart of charts) await chart.refresh();
}

function showWindow() {
  const [start, stop] = [view.step("from"), view.step("to")];
  const zoomed = start !== null && stop !== null;
  setText(byId("window"), zoomed ? `steps ${whole(start)} to ${whole(stop)}` : "whole run · drag on a figure to zoom all");
  byId("reset-zoom").hidden = !zoomed;
}

function showHead(run) {
  document.title = `${run.name || run.run_id} · foreshock`;
  setText(byId("name"), run.name || run.run_id);
  setText(byId("project"), run.project);
  byId("project").href = `/?project=${encodeURIComponent(run.project)}`;
  const config = run.config ?? {};
  const facts = [
    element("span", { class: "badge", "data-state": run.state }, run.state),
    fact("seed", run.seed),
    fact("group", run.group),
    fact("connection", config.connection),
    fact("streams", config.num_streams),
    fact("precision", config.precision),
    fact("learning rate", config.learning_rate),
    ...(run.tags ?? []).map((tag) => element("span", {}, `#${tag}`)),
    element("span", {}, `heard ${ago(run.heartbeat_at)}`),
    lostFrames(run),
  ];
  byId("facts").replaceChildren(...facts.filter(Boolean));
}

// What a full spool had to drop is never silent.
function lostFrames(run) {
  const lost = (run.cursors ?? []).reduce((sum, cursor) => sum + cursor.lost_frames, 0);
  return lost ? element("span", { class: "off" }, `${whole(lost)} steps lost by a full spool`) : null;
}

function fact(name, value) {
  if (value === null || value === undefined || value === "" || typeof value === "object") return null;
  return element("span", {}, `${name} `, element("b", {}, String(value)));
}

function flatten(value, prefix, rows) {
  for (const [key, inner] of Object.entries(value ?? {})) {
    if (inner !== null && typeof inner === "object" && !Array.isArray(inner)) flatten(inner, `${prefix}${key}.`, rows);
    else rows.push([prefix + key, typeof inner === "string" ? inner : JSON.stringify(inner)]);
  }
  return rows;
}

function showConfig(run) {
  const rows = [["run_id", run.run_id], ["attempt", String(run.attempt)], ["constraint", run.constraint ?? "not stated"], ...flatten(run.config, "", [])];
  const build = ([key, text]) => element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, text));
  reconcile(byId("config").tBodies[0], rows, ([key]) => key, build);
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
  const options = [element("option", { value: "" }, "newest"), ...numbers.map((one) => element("option", { value: one }, String(one)))];
  select.replaceChildren(...options);
  select.value = view.get("attempt");
}

function vital(name, text, note = "", kind = "") {
  return element("div", {}, element("dt", {}, name), element("dd", { class: kind }, text, note ? element("small", {}, note) : null));
}

function showVitals(run, latest) {
  const values = latest?.values ?? {};
  const composite = worstOf(compositeGains(values));
  const layer = worstOf(layerGains(values));
  const loss = toNumber(values.loss);
  const step = latest?.step ?? run.last_step;
  const left = run.state === "running" && run.total_steps ? remaining(run, values, step) : "";
  const headroom = toNumber(values.headroom_bits);
  byId("vitals").replaceChildren(
    vital("Step", step < 0 ? "–" : whole(step), [run.total_steps ? `of ${whole(run.total_steps)}` : "", left].filter(Boolean).join(", ")),
    vital("Loss", number(loss), "nat", loss !== null && !Number.isFinite(loss) ? "off" : ""),
    vital("Worst composite gain", composite ? gain(composite.value) : "–", composite ? `layer ${composite.layer}, mean over tokens` : "", composite ? gainClass(composite.value) : ""),
    vital("Layer that moves most", layer ? `layer ${layer.layer}` : "–", layer ? `gain ${gain(layer.value)}` : ""),
    vital("Gradient norm", number(values.grad_norm), values.clip_coefficient === undefined ? "" : `clipping leaves ${share(values.clip_coefficient)}`),
    vital("Headroom", bits(headroom), headroom === null ? "" : "until the stream overflows", headroomClass(headroom) === "none" ? "" : headroomClass(headroom)),
  );
}

function remaining(run, values, step) {
  const steps = run.total_steps - step - 1;
  const measured = run.attempt === 0 && step > 0 ? (run.heartbeat_at - run.started_at) / (step + 1) : toNumber(values.step_seconds);
  return steps > 0 && measured > 0 ? `${duration(steps * measured)} left` : "";
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
  return element(
    "tr",
    {},
    element("td", { class: "whole" }, severity(alert), element("span", { class: "sub" }, alert.subject)),
    element("td", { "data-label": "State" }, alert.state, alert.acknowledged_at ? element("span", { class: "sub" }, "acknowledged") : null),
    element("td", { class: "num", "data-label": "Since step" }, whole(since(alert))),
    element("td", { class: "whole", "data-label": "Reason" }, alert.reason),
  );
}

function showAlerts() {
  const rank = { critical: 0, warning: 1, info: 2 };
  const open = state.alerts.filter((alert) => alert.state === "firing" && !alert.acknowledged_at);
  open.sort((a, b) => (rank[a.severity] ?? 3) - (rank[b.severity] ?? 3) || since(a) - since(b));
  const key = (alert) => `${alert.run_id}/${alert.alert_id}`;
  const changed = () => {
    state.alertsDirty = true;
    pulse.beat();
  };
  reconcile(byId("open-alerts"), open, key, (alert) => alertCard(alert, { onAcknowledged: changed }));
  reconcile(byId("alerts").tBodies[0], state.alerts, key, alertRow);
  byId("alerts").hidden = state.alerts.length === 0;
  byId("no-alerts").hidden = state.alerts.length > 0;
  byId("no-alerts").replaceChildren(element("strong", {}, "No alerts"), "Rules watch this run as it trains; what they find appears here by itself.");
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
    await loadDetail();
    state.latest = await get(`${WHERE}/latest`);
    await loadAlerts();
    showHealth();
    await drawFigures();
  });
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
  charts.find((chart) => chart.name === "gain_map").refresh();
});
byId("attempt").addEventListener("change", (event) => {
  view.set({ attempt: event.target.value, from: null, to: null });
  showWindow();
  drawFigures();
});
byId("log-loss").addEventListener("change", (event) => {
  view.set({ log: event.target.checked ? "1" : null });
  charts.find((chart) => chart.name === "loss").refresh();
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
