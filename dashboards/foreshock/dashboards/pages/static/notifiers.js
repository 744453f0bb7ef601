// Who is told of alerts, how each fares, and a message that tries one out.

import { get, path, post } from "./api.js";
import { byId, element, reconcile, setText } from "./element.js";
import { ago, clock, number, visible, whole } from "./format.js";

function inWords(wants) {
  const list = (name) => (wants[name].length ? `${name} ${wants[name].map(visible).join(", ")}` : "");
  const ends = wants.send_resolved ? "" : "no ends";
  return [`${wants.min_severity} and above`, list("claims"), list("projects"), list("rules"), ends].filter(Boolean).join("; ");
}

function fares({ health, waiting, given_up, held_until }) {
  const parts = [
    health.last_success_at ? `${whole(health.delivered)} sent, the last ${ago(health.last_success_at)}` : "nothing sent since the start",
    health.failed ? `${whole(health.failed)} failed, the last ${ago(health.last_failure_at)}` : "",
    waiting ? `${whole(waiting)} waiting` : "",
    given_up ? `${whole(given_up)} given up` : "",
    held_until ? `held back until ${clock(held_until)}` : "",
  ];
  return parts.filter(Boolean).join("; ");
}

function row(one, mayTest) {
  const outcome = element("span", { class: "sub", role: "status" });
  const test = async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    setText(outcome, "sending …");
    try {
      const told = await post(`notifiers/${path(one.name)}/test`, {});
      setText(outcome, told.delivered ? `✓ taken in ${number(told.seconds, 2)} s` : `✕ not taken: ${told.error ?? "no reason was given"}`);
      outcome.classList.toggle("off", !told.delivered);
    } catch (failure) {
      setText(outcome, `✕ ${failure.message}`);
      outcome.classList.add("off");
    } finally {
      button.disabled = false;
    }
  };
  const button = element("button", { type: "button", onclick: test, "aria-label": `Send a test message to ${visible(one.name)}` }, "Test");
  return element(
    "tr",
    {},
    element("th", { scope: "row", class: "whole" }, visible(one.name), element("span", { class: "sub" }, [one.kind, one.address].filter(Boolean).map(visible).join(" · "))),
    element("td", { "data-label": "Is told" }, inWords(one.wants)),
    element("td", { "data-label": "Fares" }, fares(one), one.health.last_error ? element("span", { class: "sub off" }, visible(one.health.last_error)) : null),
    element("td", { class: "whole" }, mayTest ? button : null, outcome),
  );
}

export async function showNotifiers(mayTest) {
  const { notifiers } = await get("notifiers");
  reconcile(byId("notifiers").tBodies[0], notifiers, (one) => one.name, (one) => row(one, mayTest));
}
