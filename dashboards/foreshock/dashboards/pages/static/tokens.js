// Tokens: made and shown once, listed, revoked.

import { get, path, post, remove } from "./api.js";
import { byId, element, reconcile } from "./element.js";
import { actionButton, field, sendingForm } from "./form.js";
import { ago, clock, visible } from "./format.js";

const DAY = 86400;
const LIFETIMES = [["", "for ever"], [DAY, "1 day"], [30 * DAY, "30 days"], [90 * DAY, "90 days"], [365 * DAY, "a year"]];
const SCOPES = [
  ["ingest", "ingest: sends runs, reads nothing"],
  ["read", "read: looks at everything, acknowledges alerts"],
  ["admin", "admin: everything, tokens and silences too"],
];

function limitsOf(token) {
  const limits = [
    [token.max_runs, "runs"],
    [token.max_series, "series a writer"],
    [token.max_requests_per_second, "requests/s"],
    [token.max_bytes_per_second, "bytes/s"],
  ];
  return limits.filter(([value]) => value !== null).map(([value, what]) => `at most ${value.toLocaleString("en")} ${what}`).join(", ");
}

function row(token, changed) {
  const ends = token.state === "revoked" ? `revoked ${clock(token.revoked_at)}` : token.expires_at === null ? "never" : clock(token.expires_at);
  const revoke = () => remove(`tokens/${path(token.token_id)}`).then(changed);
  const name = visible(token.name);
  const limits = limitsOf(token);
  return element(
    "tr",
    {},
    element("th", { scope: "row", class: "whole" }, name, element("span", { class: "sub" }, token.token_id)),
    element("td", { "data-label": "Opens" }, token.scopes.join(", "), element("span", { class: "sub" }, token.project === null ? "all projects" : `project ${visible(token.project)}`), limits ? element("span", { class: "sub" }, limits) : null),
    element("td", { "data-label": "State" }, token.state),
    element("td", { "data-label": "Ends" }, ends),
    element("td", { "data-label": "Last used" }, token.last_used_at === null ? "never" : ago(token.last_used_at)),
    element("td", { class: "whole" }, token.state === "live" ? actionButton("Revoke", `Revoke ${name}`, "Not revoked", revoke) : null),
  );
}

function showSecret(made) {
  const place = byId("new-token");
  const secret = element("input", { readonly: true, value: made.token, "aria-label": `The token ${visible(made.name)}`, onfocus: (event) => event.target.select() });
  const copied = element("span", { role: "status" });
  const copy = async () => {
    secret.select();
    await navigator.clipboard?.writeText(made.token);
    copied.textContent = " copied";
  };
  place.hidden = false;
  place.replaceChildren(
    element("p", {}, element("b", {}, `${visible(made.name)}: `), "keep this token now. It is shown this once; the collector holds only its digest."),
    element("div", { class: "secret" }, secret, element("button", { type: "button", onclick: copy }, "Copy"), copied, element("button", { type: "button", onclick: () => forget() }, "Done")),
  );
  secret.focus();
  const forget = () => {
    place.replaceChildren();
    place.hidden = true;
  };
}

export function tokenForm(projects, changed) {
  const scopes = SCOPES.map(([scope, words]) => {
    const box = element("input", { type: "checkbox", name: "scopes", value: scope });
    box.checked = scope === "read";
    return element("label", { class: "check" }, box, words);
  });
  const fields = [
    field("Name", element("input", { name: "name", required: true, maxlength: 200, autocomplete: "off", placeholder: "who or what uses it" })),
    element("fieldset", {}, element("legend", {}, "Opens"), scopes),
    field("Project", element("select", { name: "project" }, element("option", { value: "" }, "all"), projects.map((one) => element("option", { value: one }, visible(one))))),
    field("Lives", element("select", { name: "lifetime" }, LIFETIMES.map(([seconds, words]) => element("option", { value: seconds }, words)))),
    field("At most so many runs", element("input", { name: "max_runs", type: "number", min: 1, max: 2147483647, placeholder: "no limit" })),
  ];
  const send = (form) => {
    const chosen = [...form.querySelectorAll("[name=scopes]:checked")].map((box) => box.value);
    if (!chosen.length) throw new Error("a token that opens nothing is of no use: choose a scope");
    const number = (value) => (value === "" ? null : Number(value));
    return post("tokens", {
      name: form.elements.name.value,
      scopes: chosen,
      project: form.elements.project.value || null,
      expires_in_seconds: number(form.elements.lifetime.value),
      max_runs: number(form.elements.max_runs.value),
    });
  };
  const done = (made, form) => {
    form.reset();
    showSecret(made);
    changed();
  };
  return sendingForm({}, fields, element("button", { type: "submit", class: "primary" }, "Make a token"), { failed: "No token was made", send, done });
}

export async function showTokens(changed) {
  const { tokens } = await get("tokens");
  reconcile(byId("tokens").tBodies[0], tokens, (token) => token.token_id, (token) => row(token, changed));
  byId("tokens").hidden = tokens.length === 0;
  byId("no-tokens").hidden = tokens.length > 0;
}
