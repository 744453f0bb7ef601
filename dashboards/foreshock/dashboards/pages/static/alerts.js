// The page of all alerts, run by run, and of what is silenced.

import { alertCard, linkOf } from "./alert.js";
import { get } from "./api.js";
import { about } from "./caller.js";
import { byId, element, reconcile, setText } from "./element.js";
import { ruleName, visible, whole } from "./format.js";
import { listenToKeys } from "./keys.js";
import { Pager } from "./pager.js";
import { Pulse } from "./pulse.js";
import { RowCursor } from "./row_cursor.js";
import { guarded, openShell } from "./shell.js";
import { showSilences } from "./silences.js";
import { View } from "./view.js";

const PAGE = 50;
const NAMES = ["q", "state", "severity", "project", "rule", "run"];

const view = new View();
const filters = byId("filters");
const list = byId("alerts");
const cursor = new RowCursor(list, "article");
const pulse = new Pulse(load);
const pager = new Pager(byId("pager"), view, PAGE, () => pulse.beat());

function offer(name, values, words = visible) {
  const select = filters.elements[name];
  const known = new Set([...select.options].map((option) => option.value));
  for (const value of [view.get(name), ...values]) {
    if (value && !known.has(value)) {
      known.add(value);
      select.append(element("option", { value }, words(value)));
    }
  }
}

function showEmpty(total) {
  const empty = byId("empty");
  empty.hidden = total > 0;
  if (total > 0) return;
  if (NAMES.some((name) => view.get(name))) {
    empty.replaceChildren(element("strong", {}, "No alert matches"), "Take a word out of the search, or choose “all” in the filters above.");
  } else {
    const words = "Nothing has fired so far. What does appears here by itself, with its reason and what to do.";
    empty.replaceChildren(element("strong", {}, "No alerts"), words);
  }
}

function byRun(alerts) {
  const groups = new Map();
  for (const alert of alerts) {
    if (!groups.has(alert.run_id)) groups.set(alert.run_id, []);
    groups.get(alert.run_id).push(alert);
  }
  return [...groups.values()];
}

function section({ run_id, run_name, project }) {
  return element(
    "section",
    { class: "of-run", "aria-label": `Alerts of ${visible(run_name ?? run_id)}` },
    element("header", {}, element("h2", {}, linkOf({ run_id, run_name, project })), element("p", { class: "lede" })),
    element("div", { class: "alert-list" }),
  );
}

function showGroups(alerts) {
  const groups = byRun(alerts);
  const heads = groups.map(([{ run_id, run_name, project }]) => ({ run_id, run_name, project }));
  reconcile(list, heads, (head) => head.run_id, section);
  const options = { onAcknowledged: () => pulse.beat(), onSilenced: () => pulse.beat() };
  const card = (alert) => {
    const node = alertCard(alert, options);
    node.tabIndex = -1;
    return node;
  };
  groups.forEach((group, at) => {
    const place = list.children[at];
    const firing = group.filter((alert) => alert.state === "firing").length;
    const count = group.length === 1 ? "1 alert" : `${whole(group.length)} alerts`;
    setText(place.querySelector("header .lede"), [visible(group[0].project), `${count} here`, firing ? `${firing} firing` : ""].filter(Boolean).join(" · "));
    reconcile(place.querySelector(".alert-list"), group, (alert) => `${alert.run_id}/${alert.alert_id}`, card);
  });
}

async function load() {
  await guarded(async () => {
    const asked = Object.fromEntries(NAMES.map((name) => [name, view.get(name)]));
    const { alerts, total } = await get("alerts", { ...asked, ...pager.asked });
    if (pager.isBeyond(total)) {
      pulse.beat();
      return;
    }
    offer("project", alerts.map((alert) => alert.project));
    offer("rule", alerts.map((alert) => alert.rule), ruleName);
    readFilters();
    cursor.keep(() => showGroups(alerts));
    showEmpty(total);
    const firing = alerts.filter((alert) => alert.state === "firing").length;
    setText(byId("tally"), total ? `${whole(total)} in all, ${whole(firing)} of those shown firing` : "");
    await showSilences(() => pulse.beat());
  });
}

function readFilters() {
  for (const name of NAMES) {
    const field = filters.elements[name];
    if (field && field !== document.activeElement) field.value = view.get(name);
  }
  const only = byId("only-run");
  only.hidden = !view.get("run");
  setText(only.querySelector("span"), `Only ${visible(view.get("run"))}`);
}

async function offerAll() {
  await guarded(async () => {
    const { projects, rules } = await about({ again: true });
    offer("project", projects);
    offer("rule", rules, ruleName);
    readFilters();
  });
}

filters.addEventListener("input", (event) => {
  const { name, value } = event.target;
  view.set({ [name]: value, page: null }, { replace: name === "q" });
  pulse.beat();
});
filters.addEventListener("submit", (event) => event.preventDefault());
byId("only-run").querySelector("button").addEventListener("click", () => {
  view.set({ run: null, page: null });
  pulse.beat();
});
filters.elements.q.addEventListener("keydown", (event) => {
  if (event.key === "Escape") event.target.blur();
});
view.onBack(() => {
  readFilters();
  pulse.beat();
});

const unfold = (name) => () => {
  const part = cursor.row?.querySelector(`details.${name}`);
  if (!part) return;
  part.open = !part.open;
  if (part.open) part.querySelector("summary").focus();
};
const isOnAlert = () => cursor.row !== null;
listenToKeys([
  { keys: ["j"], words: "next alert", act: () => cursor.move(1) },
  { keys: ["k"], words: "previous alert", act: () => cursor.move(-1) },
  { keys: ["Enter"], words: "open its run", act: () => cursor.row.closest("section").querySelector("h2 a").click(), when: () => document.activeElement.tagName === "ARTICLE" },
  { keys: ["a"], words: "acknowledge", act: unfold("acknowledge"), when: isOnAlert },
  { keys: ["s"], words: "silence", act: unfold("silence"), when: isOnAlert },
  { keys: ["h"], words: "history", act: unfold("all"), when: isOnAlert },
  { keys: ["/"], words: "search", act: () => filters.elements.q.focus() },
]);

const live = openShell();
for (const kind of ["open", "alert", "run", "back"]) live.on(kind, () => pulse.beat());
live.on("back", offerAll);
readFilters();
pulse.beat();
offerAll();
