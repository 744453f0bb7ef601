// Asks the collector. Everything a page shows comes through here.

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
    if (value !== null && value !== undefined && value !== "") query.append(name, value);
  }
  const text = query.toString();
  return `${BASE}/${where}${text ? `?${text}` : ""}`;
}

async function ask(url, options) {
  let answer;
  try {
    answer = await fetch(url, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "collector unreachable", "The collector cannot be reached.");
  }
  if (answer.status === 401 && document.body.dataset.page !== "login") {
    const here = window.location.pathname + window.location.search;
    window.location.assign(`/login?next=${encodeURIComponent(here)}`);
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ApiError(answer.status, body.title || answer.statusText, body.detail);
  return body;
}

export function get(where, parameters = {}, signal = undefined) {
  return ask(address(where, parameters), { signal });
}

export function post(where, body) {
  return ask(address(where, {}), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}
