// What a run is: its name, its facts, its configuration.

import { byId, element, reconcile, setText } from "./element.js";
import { ago, visible, whole } from "./format.js";

export function showHead(run) {
  const name = visible(run.name || run.run_id);
  document.title = `${name} · foreshock`;
  setText(byId("name"), name);
  setText(byId("project"), visible(run.project));
  byId("project").href = `/?project=${encodeURIComponent(run.project)}`;
  const config = run.config ?? {};
  const facts = [
    element("span", { class: "badge", "data-state": run.state }, run.state),
    fact("run", run.run_id),
    fact("seed", run.seed),
    fact("group", run.group),
    fact("connection", config.connection),
    fact("streams", config.num_streams),
    fact("precision", config.precision),
    fact("learning rate", config.learning_rate),
    ...(run.tags ?? []).map((tag) => element("span", {}, `#${visible(tag)}`)),
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
  return element("span", {}, `${name} `, element("b", {}, visible(value)));
}

function flatten(value, prefix, rows) {
  for (const [key, inner] of Object.entries(value ?? {})) {
    const isTable = inner !== null && typeof inner === "object" && !Array.isArray(inner);
    if (isTable) flatten(inner, `${prefix}${key}.`, rows);
    else rows.push([prefix + key, typeof inner === "string" ? inner : JSON.stringify(inner)]);
  }
  return rows;
}

export function showConfig(run) {
  const rows = [
    ["run_id", run.run_id],
    ["attempt", String(run.attempt)],
    ["constraint", run.constraint ?? "not stated"],
    ...flatten(run.config, "", []),
  ];
  const build = ([key, text]) => element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, text));
  reconcile(byId("config").tBodies[0], rows, ([key]) => key, build);
}
