// Who looks at the page, and what their token opens: asked for once, and again when the collector is back.

import { get } from "./api.js";

let asked = null;

// {version, database, time, asks_for_tokens, caller: {token_id, scopes, project}, projects, rules}
export function about({ again = false } = {}) {
  if (asked === null || again) {
    asked = get("about");
    asked.catch(() => (asked = null));
  }
  return asked;
}

export async function mayAdminister() {
  return (await about()).caller.scopes.includes("admin");
}

// What a part of a page says in the place of what the token does not open.
export async function scopesInWords() {
  const { caller } = await about();
  const where = caller.project === null ? "" : ` in project ${caller.project}`;
  return `You are here with the scope${caller.scopes.length > 1 ? "s" : ""} ${caller.scopes.join(" and ")}${where}`;
}
