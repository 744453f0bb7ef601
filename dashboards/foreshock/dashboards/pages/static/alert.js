// One alert as a card: what was seen, since when, what to do, who knows, and its history.

import { get, path, post } from "./api.js";
import { element, setText } from "./element.js";
import { ago, clock, ruleName, whole } from "./format.js";

const AUTHOR = "foreshock-author";

export function severity(alert) {
  const words = { class: "severity", "data-severity": alert.severity, "data-state": alert.state };
  return element("span", words, ruleName(alert.rule));
}

export function since(alert) {
  return alert.fired_step ?? alert.opened_step;
}

// An alert that passed by while it was pending has told nobody.
export function stateOf(alert) {
  return alert.state === "resolved" && alert.fired_step === null ? "passed by" : alert.state;
}

export function reasonOf(alert) {
  const parts = [element("span", {}, alert.reason)];
  if (alert.outcome) {
    const ended = stateOf(alert) === "resolved" ? "Resolved" : "Passed by before it fired";
    const where = isOfGroup(alert) ? "" : ` at step ${whole(alert.resolved_step)}`;
    parts.push(element("span", { class: "outcome" }, ` ${ended}${where}: ${alert.outcome}`));
  }
  return parts;
}

// The steps of a group's alert count runs, and are no place to look at.
function isOfGroup(alert) {
  return String(alert.run_id).startsWith("group:");
}

function span(alert) {
  if (isOfGroup(alert)) return "";
  const from = `${alert.fired_step === null ? "pending since" : "since"} step ${whole(since(alert))}`;
  return alert.resolved_step === null ? from : `steps ${whole(since(alert))} to ${whole(alert.resolved_step)}`;
}

// `onAcknowledged` hears of a success; without it the card has no form.
export function alertCard(alert, { runLink = false, onAcknowledged = null } = {}) {
  const when = [span(alert), alert.rule, alert.subject, ago(alert.opened_at)];
  const head = element(
    "div",
    { class: "alert-head" },
    severity(alert),
    element("span", { class: "badge-text" }, badge(alert)),
    element("span", { class: "when" }, when.filter(Boolean).join(" · ")),
    runLink ? linkOf(alert) : null,
  );
  return element(
    "article",
    { class: "card alert", "data-severity": alert.severity, "data-state": alert.state },
    head,
    element("p", { class: "reason" }, ...reasonOf(alert)),
    alert.advice ? element("p", { class: "advice" }, element("b", {}, "What to do: "), alert.advice) : null,
    (alert.silences ?? []).slice(0, 1).map(silenced),
    alert.acknowledged_at ? acknowledgement(alert) : null,
    onAcknowledged && !alert.acknowledged_at ? form(alert, onAcknowledged) : null,
    onAcknowledged ? history(alert) : null,
  );
}

function badge(alert) {
  const words = [alert.severity, stateOf(alert)];
  if (alert.silences?.length) words.push("silenced");
  if (alert.flapping) words.push("flapping");
  else if (alert.num_firings > 1) words.push(`fired ${whole(alert.num_firings)} times`);
  return words.join(", ");
}

function silenced(silence) {
  return element("p", { class: "acknowledged" }, `Silenced by ${silence.author} until ${clock(silence.ends_at)}: nobody is told`);
}

// Every transition and everybody who has seen it, asked for once somebody wants to know.
function history(alert) {
  const list = element("ol", { class: "history" });
  const load = async (event) => {
    if (!event.target.open || list.childElementCount) return;
    try {
      const told = await get(`alerts/${path(alert.run_id, alert.alert_id)}`);
      const changes = told.transitions.map((one) => ({ time: one.time, words: `${one.state} at step ${whole(one.step)}: ${one.reason}` }));
      const people = told.acknowledgements.map((one) => ({ time: one.time, words: `seen by ${one.author}${one.note ? `: ${one.note}` : ""}` }));
      const lines = [...changes, ...people].sort((one, other) => one.time - other.time);
      list.replaceChildren(...lines.map((one) => element("li", {}, element("time", {}, clock(one.time)), ` ${one.words}`)));
    } catch (failure) {
      list.replaceChildren(element("li", { class: "error" }, `No history: ${failure.message}`));
    }
  };
  return element("details", { ontoggle: load }, element("summary", {}, "History"), list);
}

function linkOf(alert) {
  if (isOfGroup(alert)) {
    const constrained = alert.run_id.slice(`group:${alert.project}/`.length);
    const where = `/verdict?${new URLSearchParams({ project: alert.project, constrained })}`;
    return element("a", { href: where }, `${alert.project}: ${constrained}`);
  }
  return element("a", { href: `/runs/${encodeURIComponent(alert.run_id)}` }, alert.name ?? alert.run_id);
}

function acknowledgement(alert) {
  const by = alert.acknowledged_by ? ` by ${alert.acknowledged_by}` : "";
  const note = alert.acknowledged_note ? `: ${alert.acknowledged_note}` : "";
  return element("p", { class: "acknowledged" }, `✓ Acknowledged${by}, ${ago(alert.acknowledged_at)}${note}`);
}

function form(alert, onAcknowledged) {
  const author = element("input", { name: "author", required: true, maxlength: 200, autocomplete: "name" });
  author.value = window.localStorage.getItem(AUTHOR) ?? "";
  const note = element("input", { name: "note", maxlength: 2000, autocomplete: "off", placeholder: "what you found or did" });
  const error = element("p", { class: "error", role: "alert", hidden: true });
  const button = element("button", { type: "submit", class: "primary" }, "Acknowledge");
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await post(`alerts/${path(alert.run_id, alert.alert_id)}/acknowledge`, { author: author.value, note: note.value });
      window.localStorage.setItem(AUTHOR, author.value);
      button.blur();
      button.closest("details").open = false;
      onAcknowledged();
    } catch (failure) {
      error.hidden = false;
      setText(error, `Not acknowledged: ${failure.message}`);
    } finally {
      button.disabled = false;
    }
  };
  const fields = element(
    "form",
    { onsubmit: send },
    element("label", {}, element("span", {}, "Your name"), author),
    element("label", { class: "grow" }, element("span", {}, "Note"), note),
    button,
    error,
  );
  return element("details", {}, element("summary", {}, "Acknowledge …"), fields);
}
