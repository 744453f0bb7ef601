// What every page has: the connection's state, a line for errors, the number of firing alerts.

import { ApiError, get } from "./api.js";
import { byId, setText } from "./element.js";
import { Live } from "./live.js";
import { Pulse } from "./pulse.js";

const WORDS = { connecting: "connecting", live: "live", down: "collector unreachable, retrying" };

export function openShell(runId = null) {
  const live = new Live(runId);
  const count = new Pulse(countAlerts, 3000);
  live.on("state", showState);
  for (const kind of ["open", "alert", "back"]) live.on(kind, () => count.beat());
  count.beat();
  showHere();
  return live;
}

// Where the pages do not fit beside one another, the one that is open is in sight.
function showHere() {
  const here = document.querySelector(".top nav [aria-current]");
  if (here) here.parentElement.scrollLeft = here.offsetLeft - here.parentElement.offsetLeft - 24;
}

function showState(state) {
  const link = byId("link");
  link.dataset.state = state;
  setText(byId("link-text"), WORDS[state]);
  if (state === "down") notice("The collector cannot be reached. What you see is as of the last update; retrying.", "link");
  else clearNotice("link");
}

async function countAlerts() {
  try {
    const { total } = await get("alerts", { state: "firing", limit: 1 });
    const badge = byId("alert-count");
    badge.hidden = total === 0;
    setText(badge, String(total));
    badge.setAttribute("aria-label", `${total} firing`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

// A line at the top of the page, until what has the same reason is cleared.
export function notice(text, reason) {
  const line = byId("notice");
  line.dataset.reason = reason;
  line.hidden = false;
  setText(line, text);
}

function clearNotice(reason) {
  const line = byId("notice");
  if (line.dataset.reason === reason) line.hidden = true;
}

// Runs one load of a page; what goes wrong is said at the top, and goes away with the next success.
export async function guarded(work) {
  try {
    await work();
    clearNotice("load");
  } catch (error) {
    if (error.name === "AbortError" || (error instanceof ApiError && error.unreachable)) return;
    notice(error instanceof ApiError ? `${error.title}: ${error.message}` : `The page failed: ${error.message}`, "load");
    if (!(error instanceof ApiError)) console.error(error);
  }
}
