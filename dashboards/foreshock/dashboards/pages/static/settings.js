// The page of settings: each part says what it is, or which token opens it.

import { ApiError, get } from "./api.js";
import { about, mayAdminister, scopesInWords } from "./caller.js";
import { byId, element, reconcile, setText } from "./element.js";
import { clock, duration, ruleName, visible } from "./format.js";
import { showNotifiers } from "./notifiers.js";
import { Pulse } from "./pulse.js";
import { pinForm, showRetention } from "./retention.js";
import { guarded, openShell } from "./shell.js";
import { showTokens, tokenForm } from "./tokens.js";

// So many seconds apart two clocks tell other times of an alert
const CLOCKS_AGREE_SECONDS = 5;

const pulse = new Pulse(load, 5000);
const changed = () => pulse.beat();
let mayChange = false;

// Shows a part, or in its place which token would: it is refused, not broken.
async function part(name, show) {
  const body = byId(`${name}-part`);
  const closed = byId(`${name}-closed`);
  try {
    await show();
    body.hidden = false;
    closed.hidden = true;
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 403) throw error;
    body.hidden = true;
    closed.hidden = false;
    setText(closed, `${await scopesInWords()}: ${error.message}.`);
  }
}

async function showServer() {
  const before = Date.now() / 1000;
  const told = await about({ again: true });
  const here = (before + Date.now() / 1000) / 2;
  const apart = told.time - here;
  const clocks = Math.abs(apart) < CLOCKS_AGREE_SECONDS ? "agrees with this browser's" : `${duration(Math.abs(apart))} ${apart > 0 ? "ahead of" : "behind"} this browser's: one of both is wrong`;
  const facts = [
    ["Version", `foreshock ${told.version}`],
    ["Database", told.database === "sqlite" ? "SQLite" : "PostgreSQL"],
    ["Clock", `${clock(told.time)}, ${clocks}`],
    ["Tokens", told.asks_for_tokens ? "asked for" : "not asked for: only this machine reaches the collector"],
    ["You", `${told.caller.scopes.join(", ")}${told.caller.project === null ? "" : ` in project ${visible(told.caller.project)}`}`],
    ["Interface", "/api/v1/openapi.json"],
  ];
  reconcile(byId("facts"), facts, ([name]) => name, ([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text)));
  return told;
}

async function showRules() {
  const rules = await get("rules");
  const since = rules.file === null ? "The shipped rules judge; no rules file is set." : `${visible(rules.file)}, taken over ${clock(rules.taken_at)}.`;
  setText(byId("rules-since"), since);
  const problems = rules.problems.map((one) => `Line ${one.line ?? "–"}, column ${one.column ?? "–"}: ${one.problem}`);
  reconcile(byId("rule-problems"), problems, (words) => words, (words) => element("li", { class: "off" }, words));
  byId("rules-invalid").hidden = rules.valid;
  const named = [...rules.rules.map((rule) => [rule, true]), ...rules.disabled.map((rule) => [rule, false])];
  const build = ([rule, judges]) => element("li", {}, ruleName(rule), " ", element("code", {}, rule), judges ? "" : " switched off");
  reconcile(byId("rules"), named, ([rule]) => rule, build);
}

function makeForms(projects) {
  byId("make-token").hidden = byId("pin-run").hidden = !mayChange;
  if (!mayChange || byId("make-token").childElementCount) return;
  byId("make-token").replaceChildren(tokenForm(projects, changed));
  byId("pin-run").replaceChildren(pinForm(changed));
}

async function load() {
  await guarded(async () => {
    const { projects } = await showServer();
    mayChange = await mayAdminister();
    makeForms(projects);
    await part("tokens", () => showTokens(changed));
    await part("notifiers", () => showNotifiers(mayChange));
    await part("retention", () => showRetention(mayChange, changed));
    await part("rules", showRules);
  });
}

const live = openShell();
for (const kind of ["alert", "run", "back"]) live.on(kind, () => pulse.beat());
pulse.beat();
