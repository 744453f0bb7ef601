// What a person chose for the figures, as the address holds it and as the collector is asked for it.

export const DEFAULT_MAP = "layer_amax_forward_max";
export const AXES = ["step", "time", "tokens"];
// Half-lives, in points of the drawing
export const SMOOTHINGS = [2, 5, 20, 50];

const takes = (entry, option) => entry.options.includes(option);
const names = (view, key) => view.get(key).split(",").filter(Boolean);

export function axisOf(view) {
  const asked = view.get("axis");
  return AXES.includes(asked) ? asked : "step";
}

export function smoothingOf(view) {
  const asked = Number(view.get("smooth"));
  return SMOOTHINGS.includes(asked) ? asked : null;
}

// true or false where somebody chose a scale for the figure, else null; "1" is the loss's in older links.
export function scaleOf(view, name) {
  const logs = names(view, "log");
  if (logs.includes(name) || (name === "loss" && logs.includes("1"))) return true;
  return names(view, "linear").includes(name) ? false : null;
}

export function chooseScale(view, name, isLog) {
  const without = (key) => names(view, key).filter((one) => one !== name && !(name === "loss" && one === "1"));
  const logs = isLog ? [...without("log"), name] : without("log");
  const linears = isLog ? without("linear") : [...without("linear"), name];
  view.set({ log: logs.join(","), linear: linears.join(",") });
}

// The query of one figure: only what it says it takes.
export function parametersOf(entry, view) {
  const asked = { start: view.step("from"), stop: view.step("to"), attempt: view.step("attempt") };
  if (takes(entry, "series")) asked.series = view.get("map", DEFAULT_MAP);
  if (takes(entry, "log_y")) asked.log_y = scaleOf(view, entry.name);
  if (takes(entry, "axis") && axisOf(view) !== "step") asked.axis = axisOf(view);
  if (takes(entry, "smooth")) asked.smooth = smoothingOf(view);
  return asked;
}
