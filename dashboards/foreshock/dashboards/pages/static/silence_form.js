// A form that silences what an alert is like: for how long, by whom, why.

import { post } from "./api.js";
import { authorField, rememberAuthor } from "./author.js";
import { mayAdminister, scopesInWords } from "./caller.js";
import { element, setText } from "./element.js";

const HOUR = 3600;
const DURATIONS = [
  [HOUR, "1 hour"],
  [4 * HOUR, "4 hours"],
  [12 * HOUR, "12 hours"],
  [24 * HOUR, "1 day"],
  [7 * 24 * HOUR, "7 days"],
  [30 * 24 * HOUR, "30 days"],
];
const MATCHER = /^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)(.*)$/;

// Lines as they are typed, each a name, an operator and a value.
export function readMatchers(text) {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line) => {
    const found = MATCHER.exec(line);
    if (!found) throw new Error(`“${line}” is no matcher: write a name, one of = != =~ !~ and a value, as rule=loss_spike`);
    return { name: found[1], operator: found[2], value: found[3].trim() };
  });
}

export function silenceDetails(alert, onSilenced) {
  const body = element("div", {});
  const fill = async (event) => {
    if (!event.target.open || body.childElementCount) return;
    if (await mayAdminister()) body.replaceChildren(silenceForm(alert, onSilenced));
    else body.replaceChildren(element("p", { class: "help" }, `Silencing keeps others from being woken, so it needs the scope admin. ${await scopesInWords()}.`));
  };
  const shown = (event) => fill(event).catch((failure) => body.replaceChildren(element("p", { class: "error" }, failure.message)));
  return element("details", { class: "silence", ontoggle: shown }, element("summary", {}, "Silence …"), body);
}

function silenceForm(alert, onSilenced) {
  const matchers = element("textarea", { name: "matchers", rows: 3, required: true, spellcheck: "false" });
  matchers.value = `run=${alert.run_id}\nrule=${alert.rule}`;
  const duration = element("select", { name: "duration" }, DURATIONS.map(([seconds, words]) => element("option", { value: seconds }, words)));
  const comment = element("input", { name: "comment", required: true, maxlength: 2000, autocomplete: "off", placeholder: "why nobody need hear of it" });
  const author = authorField();
  const error = element("p", { class: "error", role: "alert", hidden: true });
  const button = element("button", { type: "submit", class: "primary" }, "Silence");
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    error.hidden = true;
    try {
      const told = { author: author.value, comment: comment.value, duration_seconds: Number(duration.value) };
      await post("silences", { matchers: readMatchers(matchers.value), ...told });
      rememberAuthor(author.value);
      button.blur();
      button.closest("details").open = false;
      onSilenced();
    } catch (failure) {
      error.hidden = false;
      setText(error, `Not silenced: ${failure.message}`);
    } finally {
      button.disabled = false;
    }
  };
  return element(
    "form",
    { onsubmit: send },
    element("label", { class: "grow" }, element("span", {}, "What: all of these, one a line; =~ takes a pattern"), matchers),
    element("label", {}, element("span", {}, "For"), duration),
    element("label", {}, element("span", {}, "Your name"), author),
    element("label", { class: "grow" }, element("span", {}, "Why"), comment),
    button,
    error,
  );
}
