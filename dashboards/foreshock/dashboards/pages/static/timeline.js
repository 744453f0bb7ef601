// The run as one line of steps: what happened on it, which part the figures show, and where the cursor stands.

import { element, reconcile, setText } from "./element.js";
import { whole } from "./format.js";

const LANES = ["Alerts", "Schedule", "Attempts", "Notes"];
const SIGNS = { Schedule: "◧", Attempts: "↻", Notes: "✎" };
const SEVERITY_SIGNS = { critical: "▼", warning: "◆", info: "●" };
const GRAVEST = ["critical", "warning", "info"];
// Nearer than this they cannot be told apart, as a share of the line
const CLOSE = 0.012;
const LEAST_DRAG = 0.01;
const MAX_ROWS = 500;

export class Timeline {
  // `onZoom(start, stop)` hears of a click on a mark and of a drag.
  constructor(section, onZoom) {
    this.section = section;
    this.onZoom = onZoom;
    this.end = 0;
    this.lanes = section.querySelector(".lanes");
    this.track = section.querySelector(".track");
    this.brush = section.querySelector(".brush");
    this.cursor = section.querySelector(".timeline-cursor");
    this.tip = section.querySelector(".tip");
    this.table = section.querySelector("table");
    this.#listenToDrags();
  }

  show(moments, end) {
    this.end = Math.max(1, end);
    this.moments = [...moments].sort((one, other) => one.step - other.step);
    const lanes = LANES.map((lane) => ({ lane, groups: this.#groups(lane) })).filter(({ groups }) => groups.length);
    reconcile(this.lanes, lanes, ({ lane }) => lane, (one) => this.#lane(one));
    const ends = this.section.querySelectorAll(".ends span");
    setText(ends[0], "step 0");
    setText(ends[1], `step ${whole(end)}`);
    this.section.querySelector(".nothing").hidden = lanes.length > 0;
    this.#fillTable();
  }

  // Marks that would cover each other become one that says how many it stands for.
  #groups(lane) {
    const groups = [];
    for (const one of this.moments.filter((moment) => moment.lane === lane)) {
      const last = groups.at(-1);
      if (last && one.step - last.at(-1).step < CLOSE * this.end) last.push(one);
      else groups.push([one]);
    }
    return groups.map((group) => ({ group, end: this.end }));
  }

  #lane({ lane, groups }) {
    const name = element("span", { class: "lane-name" }, lane);
    const marks = groups.flatMap(({ group }) => [this.#bar(group), this.#mark(lane, group)]);
    return element("div", { class: "lane" }, name, element("div", { class: "marks" }, marks));
  }

  #bar(group) {
    const until = Math.max(...group.map((one) => one.until ?? -1));
    if (until < 0) return null;
    const bar = element("span", { class: "stood", "data-severity": gravest(group) });
    const [from, to] = [this.#share(group[0].step), this.#share(until)];
    bar.style.cssText = `left: ${100 * from}%; width: ${100 * Math.max(0, to - from)}%`;
    return bar;
  }

  #mark(lane, group) {
    const severity = gravest(group);
    const sign = lane === "Alerts" ? SEVERITY_SIGNS[severity] ?? "●" : SIGNS[lane];
    const said = group.map((one) => `step ${whole(one.step)}: ${one.title}`).join("; ");
    const mark = element(
      "button",
      { type: "button", class: "moment", "data-severity": severity, "aria-label": `${said}. Show the steps around it.` },
      sign,
      group.length > 1 ? element("small", {}, String(group.length)) : null,
    );
    mark.style.left = `${100 * this.#share(group[0].step)}%`;
    mark.addEventListener("click", () => this.#zoomAround(group));
    for (const event of ["pointerenter", "focus"]) mark.addEventListener(event, () => this.#tell(mark, group));
    for (const event of ["pointerleave", "blur"]) mark.addEventListener(event, () => { this.tip.hidden = true; });
    return mark;
  }

  #tell(mark, group) {
    const lines = group.slice(0, 6).map((one) =>
      element("p", {}, element("b", {}, `Step ${whole(one.step)}`), ` ${one.title}`, one.words ? element("span", {}, one.words) : null),
    );
    if (group.length > 6) lines.push(element("p", {}, `and ${group.length - 6} more`));
    this.tip.replaceChildren(...lines);
    this.tip.hidden = false;
    const [box, place] = [this.section.getBoundingClientRect(), mark.getBoundingClientRect()];
    const left = Math.max(8, Math.min(box.width - this.tip.offsetWidth - 8, place.left - box.left - 20));
    this.tip.style.cssText = `left: ${left}px; top: ${place.bottom - box.top + 6}px`;
  }

  #zoomAround(group) {
    const [first, last] = [group[0].step, group.at(-1).step];
    const reach = Math.max(20, Math.round(0.05 * this.end));
    this.onZoom(Math.max(0, first - reach), last + reach);
  }

  #share(step) {
    return Math.max(0, Math.min(1, step / this.end));
  }

  showWindow(start, stop) {
    this.brush.hidden = start === null || stop === null;
    if (this.brush.hidden) return;
    const [from, to] = [this.#share(start), this.#share(stop)];
    this.brush.style.cssText = `left: ${100 * from}%; width: ${100 * Math.max(0.002, to - from)}%`;
  }

  showCursor(step) {
    this.cursor.hidden = step === null;
    if (step !== null) this.cursor.style.left = `${100 * this.#share(step)}%`;
  }

  #listenToDrags() {
    let from = null;
    const at = (event) => {
      const box = this.track.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    };
    this.track.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("button")) return;
      from = at(event);
      this.track.setPointerCapture(event.pointerId);
    });
    this.track.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const [low, high] = [from, at(event)].sort((a, b) => a - b);
      this.showWindow(low * this.end, high * this.end);
    });
    this.track.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const [low, high] = [from, at(event)].sort((a, b) => a - b);
      from = null;
      if (high - low < LEAST_DRAG) return this.onZoom(null, null);
      this.onZoom(Math.floor(low * this.end), Math.ceil(high * this.end));
    });
    this.track.addEventListener("pointercancel", () => { from = null; });
  }

  #fillTable() {
    const rows = this.moments.slice(-MAX_ROWS).map((one) => [whole(one.step), one.lane, one.title, one.words]);
    const build = (cells) => element("tr", {}, cells.map((cell, at) => element(at ? "td" : "th", at ? {} : { scope: "row" }, cell)));
    reconcile(this.table.tBodies[0], rows, (cells) => cells.join("\u0000"), build);
  }
}

function gravest(group) {
  return GRAVEST.find((severity) => group.some((one) => one.severity === severity)) ?? null;
}
