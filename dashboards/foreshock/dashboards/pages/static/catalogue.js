// Which figures a run can show, in families, as the collector lists them: the page lays them out in tabs.

import { get } from "./api.js";

// These come first, whatever family they are of
const FIRST = ["risk", "loss", "composite", "gain_map"];

// {families: [{name, title}], figures: [{name, title, family, help, over, overview, options}]}
export function catalogueOf(where) {
  return get(`${where}/figures`);
}

// The tabs, each {id, title, figures}: the overview, then one a family.
export function tabsOf({ families, figures }) {
  const rank = (one) => (FIRST.includes(one.name) ? FIRST.indexOf(one.name) : FIRST.length);
  const first = figures.filter((one) => one.overview).sort((one, other) => rank(one) - rank(other));
  const tabs = families.map(({ name, title }) => ({
    id: name,
    title,
    figures: figures.filter((one) => one.family === name),
  }));
  return [{ id: "overview", title: "Overview", figures: first }, ...tabs];
}

// Every word must be found in what a figure is called or says of itself.
export function found(figures, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const told = (one) => `${one.title} ${one.name} ${one.family} ${one.help}`.toLowerCase();
  return figures.filter((one) => words.every((word) => told(one).includes(word)));
}
