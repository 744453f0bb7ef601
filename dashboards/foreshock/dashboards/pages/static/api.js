// Asks the collector. Everything a page shows comes through here.

import { hearServerTime } from "./servertime.js";

const BASE = "/api/v1";

export class ApiError extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }

  get unreachable() {
    return this.status === 0;
  }
}

export function path(...parts) {
  return parts.map((part) => encodeURIComponent(part)).join("/");
}

function address(where, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one);
    }
  }
  const text = query.toString();
  return `${BASE}/${where}${text ? `?${text}` : ""}`;
}

// {status, tag, body} of an answer that is none of an error.
async function answered(url, options) {
  let answer;
  try {
    answer = await fetch(url, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "collector unreachable", "The collector cannot be reached.");
  }
  hearServerTime(answer.headers.get("Date"));
  if (answer.status === 401 && document.body.dataset.page !== "login") {
    const here = window.location.pathname + window.location.search;
    window.location.assign(`/login?next=${encodeURIComponent(here)}`);
  }
  const body = answer.status === 304 ? null : await answer.json().catch(() => ({}));
  if (!answer.ok && answer.status !== 304) throw new ApiError(answer.status, body.title || answer.statusText, body.detail);
  return { status: answer.status, tag: answer.headers.get("ETag"), body };
}

async function ask(url, options) {
  return (await answered(url, options)).body;
}

export function get(where, parameters = {}, signal = undefined) {
  return ask(address(where, parameters), { signal });
}

// As `get`, from one who has what `tag` names: status 304 where it still stands, 226 with a patch to it.
export function getNewer(where, parameters, tag, signal = undefined) {
  const headers = tag ? { "If-None-Match": tag, "A-IM": "figure-patch" } : {};
  return answered(address(where, parameters), { signal, headers });
}

function send(method, where, body) {
  return ask(address(where, {}), {
    method,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

export const post = (where, body) => send("POST", where, body);
export const put = (where, body) => send("PUT", where, body);
export const remove = (where) => send("DELETE", where);
