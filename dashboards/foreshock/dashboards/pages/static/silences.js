// The list of silences: what nobody is told of, until when, by whom, and the way to end one.

import { get, path, remove } from "./api.js";
import { mayAdminister } from "./caller.js";
import { byId, element, reconcile, setText } from "./element.js";
import { clock, duration, visible, whole } from "./format.js";

const inWords = (matcher) => `${matcher.name}${matcher.operator}${visible(matcher.value)}`;

function endsIn(silence) {
  const seconds = silence.ends_at - Date.now() / 1000;
  if (silence.state === "expired") return `ended ${clock(silence.expired_at ?? silence.ends_at)}`;
  return `until ${clock(silence.ends_at)}${seconds > 0 ? ` (${duration(seconds)} left)` : ""}`;
}

function row(silence, mayEnd, onEnded) {
  const error = element("span", { class: "sub off", role: "alert" });
  const end = async (event) => {
    event.target.disabled = true;
    // A row that has the focus is in use, and would stay as it is
    event.target.blur();
    try {
      await remove(`silences/${path(silence.silence_id)}`);
      onEnded();
    } catch (failure) {
      event.target.disabled = false;
      setText(error, `Not ended: ${failure.message}`);
    }
  };
  const what = silence.matchers.map(inWords).join(", ");
  const button = element("button", { type: "button", onclick: end, "aria-label": `End the silence of ${what}` }, "End now");
  return element(
    "tr",
    {},
    element("td", { class: "whole" }, element("code", {}, what), silence.project ? element("span", { class: "sub" }, `project ${visible(silence.project)}`) : null),
    element("td", { "data-label": "State" }, silence.state),
    element("td", { "data-label": "Ends" }, endsIn(silence)),
    element("td", { "data-label": "By" }, visible(silence.author)),
    element("td", { class: "whole", "data-label": "Why" }, visible(silence.comment)),
    element("td", { class: "whole" }, silence.state === "expired" || !mayEnd ? null : button, error),
  );
}

export async function showSilences(onEnded) {
  const [{ silences }, mayEnd] = await Promise.all([get("silences"), mayAdminister()]);
  const live = silences.filter((one) => one.state !== "expired").length;
  setText(byId("silences").querySelector("summary"), silences.length ? `Silences: ${whole(live)} live, ${whole(silences.length - live)} over` : "Silences: none");
  reconcile(byId("silence-rows"), silences, (one) => one.silence_id, (one) => row(one, mayEnd, onEnded));
  byId("silence-table").hidden = silences.length === 0;
  byId("no-silences").hidden = silences.length > 0;
}
