// A run's alerts: the worst few open ones as cards, all of them as a table.

import { alertCard, reasonOf, severity, since, stateOf } from "./alert.js";
import { byId, element, reconcile, setText } from "./element.js";
import { ruleName, whole } from "./format.js";

const MAX_CARDS = 3;
const RANK = { critical: 0, warning: 1, info: 2 };

function alertRow(alert) {
  const seen = alert.acknowledged_at ? element("span", { class: "sub" }, "acknowledged") : null;
  return element(
    "tr",
    {},
    element("td", { class: "whole" }, severity(alert), element("span", { class: "sub" }, alert.subject)),
    element("td", { "data-label": "State" }, stateOf(alert), seen),
    element("td", { class: "num", "data-label": "Since step" }, whole(since(alert))),
    element("td", { class: "whole", "data-label": "Reason" }, ...reasonOf(alert)),
  );
}

// What has happened before what is to come: of a run that died no advice comes first that was for the living.
function weight({ rule, subject }) {
  if (rule === "nonfinite") return subject === "loss" ? 0 : 1;
  return String(rule).startsWith("exit") ? 2 : 3;
}

// The charts must stay in sight: the worst few get a card, one a rule, the others fold away.
function partAlerts(open) {
  const first = open.filter((alert, place) => open.findIndex((one) => one.rule === alert.rule) === place).slice(0, MAX_CARDS);
  return [first, open.filter((alert) => !first.includes(alert))];
}

export function showAlerts(alerts, onAcknowledged) {
  const open = alerts.filter((alert) => alert.state === "firing" && !alert.acknowledged_at);
  open.sort((a, b) => (RANK[a.severity] ?? 3) - (RANK[b.severity] ?? 3) || weight(a) - weight(b) || since(a) - since(b));
  const key = (alert) => `${alert.run_id}/${alert.alert_id}`;
  const card = (alert) => alertCard(alert, { onAcknowledged });
  const [first, more] = partAlerts(open);
  reconcile(byId("open-alerts"), first, key, card);
  reconcile(byId("more-open-alerts"), more, key, card);
  byId("more-alerts").hidden = more.length === 0;
  const names = [...new Set(more.map((alert) => ruleName(alert.rule)))].join(", ");
  setText(byId("more-alerts").querySelector("summary"), `${more.length} more open: ${names}`);
  reconcile(byId("alerts").tBodies[0], alerts, key, alertRow);
  byId("alerts").hidden = alerts.length === 0;
  byId("no-alerts").hidden = alerts.length > 0;
  const words = "Rules watch this run as it trains; what they find appears here by itself.";
  byId("no-alerts").replaceChildren(element("strong", {}, "No alerts"), words);
}
