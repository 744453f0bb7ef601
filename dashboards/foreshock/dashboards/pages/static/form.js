// A form that sends something: one at a time, and what went wrong is said where it was sent from.

import { element, setText } from "./element.js";

// `send(form)` is given the form element and may throw; `done(answer, form)` hears of a success.
export function sendingForm(attributes, fields, button, { failed, send, done }) {
  const error = element("p", { class: "error", role: "alert", hidden: true });
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    error.hidden = true;
    try {
      done(await send(event.target), event.target);
    } catch (failure) {
      error.hidden = false;
      setText(error, `${failed}: ${failure.message}`);
    } finally {
      button.disabled = false;
    }
  };
  return element("form", { class: "sending", onsubmit: submit, ...attributes }, fields, button, error);
}

export function field(words, input, attributes = {}) {
  return element("label", attributes, element("span", {}, words), input);
}

// A button that does one thing; what went wrong stands beside it.
export function actionButton(words, label, failed, act) {
  const error = element("span", { class: "sub off", role: "alert" });
  const press = async () => {
    button.disabled = true;
    // What has the focus is in use, and would not be drawn anew
    button.blur();
    setText(error, "");
    try {
      await act();
    } catch (failure) {
      setText(error, `${failed}: ${failure.message}`);
    } finally {
      button.disabled = false;
    }
  };
  const button = element("button", { type: "button", "aria-label": label, onclick: press }, words);
  return element("span", { class: "action" }, button, error);
}
