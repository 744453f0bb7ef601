// One alert as a card: what was seen, since when, what to do, who knows, and its history.

import { get, path, post } from "./api.js";
import { authorField, rememberAuthor } from "./author.js";
import { element, setText } from "./element.js";
import { ago, clock, ruleName, visible, whole } from "./format.js";
import { groundsInWords, groundsLine } from "./grounds.js";
import { silenceDetails } from "./silence_form.js";

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
    const ended = stateOf(alert) === "resolved" ? "Resolved" : "Never fired; passed by";
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

// `onAcknowledged` hears of a success; without it the card has no form. `onSilenced` the same of a silence.
export function alertCard(alert, { runLink = false, onAcknowledged = null, onSilenced = null } = {}) {
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
    groundsLine(alert),
    alert.advice ? element("p", { class: "advice" }, element("b", {}, "What to do: "), alert.advice) : null,
    (alert.silences ?? []).slice(0, 1).map(silenced),
    alert.acknowledged_at ? acknowledgement(alert) : null,
    onAcknowledged ? deeds(alert, onAcknowledged, onSilenced) : null,
  );
}

// What can be done about it, and looked at, side by side until one is opened.
function deeds(alert, onAcknowledged, onSilenced) {
  return element(
    "div",
    { class: "deeds" },
    alert.acknowledged_at ? null : form(alert, onAcknowledged),
    onSilenced && alert.state !== "resolved" ? silenceDetails(alert, onSilenced) : null,
    onSilenced && !isOfGroup(alert) ? picture(alert) : null,
    history(alert),
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

// Every signal around the step at which it fired: drawn by the collector once somebody wants to see it.
function picture(alert) {
  const where = `/api/v1/alerts/${path(alert.run_id, alert.alert_id)}/snapshot.png`;
  const place = element("p", { class: "snapshot" });
  const load = (event) => {
    if (!event.target.open || place.childElementCount) return;
    const words = `Every signal of the run around step ${whole(since(alert))}`;
    const image = element("img", { src: where, alt: words, loading: "lazy" });
    image.addEventListener("error", () => place.replaceChildren("There is no picture: the run's numbers around this step are not there."));
    place.replaceChildren(element("a", { href: where, title: "Open the picture alone" }, image));
  };
  return element("details", { class: "picture", ontoggle: load }, element("summary", {}, "Picture"), place);
}

// Every transition and everybody who has seen it, asked for once somebody wants to know.
function history(alert) {
  const list = element("ol", { class: "history" });
  const load = async (event) => {
    if (!event.target.open || list.childElementCount) return;
    try {
      const told = await get(`alerts/${path(alert.run_id, alert.alert_id)}`);
      const changes = told.transitions.map((one) => ({ time: one.time, words: changeInWords(one) }));
      const people = told.acknowledgements.map((one) => ({ time: one.time, words: `seen by ${one.author}${one.note ? `: ${one.note}` : ""}` }));
      const lines = [...changes, ...people].sort((one, other) => one.time - other.time);
      list.replaceChildren(...lines.map((one) => element("li", {}, element("time", {}, clock(one.time)), ` ${one.words}`)));
    } catch (failure) {
      list.replaceChildren(element("li", { class: "error" }, `No history: ${failure.message}`));
    }
  };
  return element("details", { class: "all", ontoggle: load }, element("summary", {}, "History"), list);
}

function changeInWords(one) {
  const severity = one.severity ? `, ${one.severity}` : "";
  const grounds = groundsInWords(one);
  return `${one.state} at step ${whole(one.step)}${severity}: ${one.reason}${grounds ? ` (${grounds})` : ""}`;
}

export function linkOf(alert) {
  if (isOfGroup(alert)) {
    const constrained = alert.run_id.slice(`group:${alert.project}/`.length);
    const where = `/verdict?${new URLSearchParams({ project: alert.project, constrained })}`;
    return element("a", { href: where }, `${alert.project}: ${constrained}`);
  }
  return element("a", { href: `/runs/${encodeURIComponent(alert.run_id)}` }, visible(alert.run_name ?? alert.run_id));
}

function acknowledgement(alert) {
  const by = alert.acknowledged_by ? ` by ${alert.acknowledged_by}` : "";
  const note = alert.acknowledged_note ? `: ${alert.acknowledged_note}` : "";
  return element("p", { class: "acknowledged" }, `✓ Acknowledged${by}, ${ago(alert.acknowledged_at)}${note}`);
}

function form(alert, onAcknowledged) {
  const author = authorField();
  const note = element("input", { name: "note", maxlength: 2000, autocomplete: "off", placeholder: "what you found or did" });
  const error = element("p", { class: "error", role: "alert", hidden: true });
  const button = element("button", { type: "submit", class: "primary" }, "Acknowledge");
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await post(`alerts/${path(alert.run_id, alert.alert_id)}/acknowledge`, { author: author.value, note: note.value });
      rememberAuthor(author.value);
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
  return element("details", { class: "acknowledge" }, element("summary", {}, "Acknowledge …"), fields);
}
