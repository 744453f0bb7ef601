// Thumbnails of runs: fetched for the rows that can be seen, drawn as one pixel a cell.

import { ApiError, get } from "./api.js";
import { element } from "./element.js";
import { Pulse } from "./pulse.js";
import { onThemeChange } from "./theme.js";

const COLUMNS = 48;
const MOST = 50;
const KEPT = 500;
// A run that trains is drawn anew this often, whoever else may have asked
const AGAIN_MS = 10000;
const LOSS_HEIGHT = 9;

export class Sparks {
  constructor() {
    // By run: {attempt, last_step, kind, rows, told, at}; those asked for longest ago go first
    this.known = new Map();
    this.wanted = new Map();
    this.seen = new IntersectionObserver((entries) => this.#notice(entries), { rootMargin: "100px" });
    this.pulse = new Pulse(() => this.#fetch(), 300);
    onThemeChange(() => document.querySelectorAll("canvas.cells").forEach((canvas) => this.#paint(canvas)));
  }

  // The picture of a run, drawn from what is known and asked for when it comes on the screen.
  picture(run) {
    const canvas = element("canvas", { class: "cells", width: COLUMNS, height: 1, role: "img", "aria-label": "not drawn yet" });
    canvas.run = { run_id: run.run_id, attempt: run.attempt, last_step: run.last_step };
    if (this.known.has(run.run_id)) this.#paint(canvas);
    this.seen.observe(canvas);
    return canvas;
  }

  #notice(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!target.isConnected) this.seen.unobserve(target);
      else if (isIntersecting) this.#want(target);
      else this.wanted.delete(target.run.run_id);
    }
    if (this.wanted.size) this.pulse.beat();
  }

  #want(canvas) {
    const { run_id, attempt, last_step } = canvas.run;
    const known = this.known.get(run_id);
    const isNew = known && known.attempt === attempt && known.last_step >= last_step;
    if (isNew || (known && known.attempt === attempt && performance.now() - known.at < AGAIN_MS)) return;
    this.wanted.set(run_id, canvas);
  }

  async #fetch() {
    const asked = [...this.wanted.entries()].slice(0, MOST);
    for (const [run_id] of asked) this.wanted.delete(run_id);
    if (!asked.length) return;
    try {
      const { sparks } = await get("sparks", { run: asked.map(([run_id]) => run_id) });
      for (const [run_id, canvas] of asked) {
        this.known.delete(run_id);
        this.known.set(run_id, { ...sparks[run_id], at: performance.now() });
        if (canvas.isConnected) this.#paint(canvas);
      }
      for (const run_id of this.known.keys()) if (this.known.size > KEPT) this.known.delete(run_id);
    } catch (error) {
      // A run may have been deleted between two answers; the list tells what went wrong with the rest
      if (!(error instanceof ApiError)) throw error;
    }
    if (this.wanted.size) this.pulse.beat();
  }

  #paint(canvas) {
    const spark = this.known.get(canvas.run.run_id);
    if (!spark) return;
    canvas.setAttribute("aria-label", spark.told);
    canvas.title = spark.told;
    canvas.dataset.kind = spark.kind;
    if (spark.kind === "layers") drawLayers(canvas, spark.rows);
    else if (spark.kind === "loss") drawLoss(canvas, spark.rows[0]);
  }
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const named = (role) => style.getPropertyValue(role).trim();
  const scale = Array.from({ length: 9 }, (_, at) => [String(at), named(`--scale-${at}`)]);
  return new Map([...scale, ["x", named("--broken")], ["line", named("--series-1")]]);
}

function drawLayers(canvas, rows) {
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  const context = canvas.getContext("2d");
  const shown = colours();
  rows.forEach((row, y) => {
    for (let x = 0; x < row.length; x += 1) {
      if (!shown.has(row[x])) continue;
      context.fillStyle = shown.get(row[x]);
      context.fillRect(x, y, 1, 1);
    }
  });
}

function drawLoss(canvas, row) {
  canvas.width = row.length;
  canvas.height = LOSS_HEIGHT;
  const context = canvas.getContext("2d");
  const shown = colours();
  for (let x = 0; x < row.length; x += 1) {
    if (row[x] === ".") continue;
    const height = row[x] === "x" ? LOSS_HEIGHT : Number(row[x]) + 1;
    context.fillStyle = shown.get(row[x] === "x" ? "x" : "line");
    context.fillRect(x, LOSS_HEIGHT - height, 1, height);
  }
}
