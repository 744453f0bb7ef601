// What happened in a run beside its numbers, as the collector tells it.

import { get } from "./api.js";

const MAX_ATTEMPTS = 50;

export class Happenings {
  constructor(where) {
    this.where = where;
    this.alerts = [];
    this.events = [];
    this.notes = [];
    // The first step of each attempt that was resumed
    this.starts = new Map();
    this.isOld = true;
  }

  async load(run) {
    if (!this.isOld) return;
    this.isOld = false;
    try {
      const [told, heard, noted] = await Promise.all([
        get(`${this.where}/alerts`, { limit: 500 }),
        get(`${this.where}/events`),
        get(`${this.where}/notes`),
      ]);
      this.alerts = told.alerts;
      this.events = heard.events;
      this.notes = noted.notes;
      await this.#loadStarts(run);
    } catch (error) {
      this.isOld = true;
      throw error;
    }
  }

  async #loadStarts(run) {
    const column = run.series[0];
    if (!column) return;
    const name = column.layers ? `${column.series}[0]` : column.series;
    for (const attempt of run.attempts.filter((one) => one > 0 && !this.starts.has(one)).slice(-MAX_ATTEMPTS)) {
      const { series } = await get(`${this.where}/series`, { column: name, attempt, buckets: 1 });
      if (series.length && series[0].first_step.length) this.starts.set(attempt, series[0].first_step[0]);
    }
  }
}
