// Which steps a page shows, in words, and the way back to all of them.

import { byId, setText } from "./element.js";
import { whole } from "./format.js";

export function showSpan(view) {
  const [start, stop] = [view.step("from"), view.step("to")];
  const zoomed = start !== null && stop !== null;
  setText(byId("window"), zoomed ? `steps ${whole(start)} to ${whole(stop)}` : "whole run");
  byId("reset-zoom").hidden = !zoomed;
}
