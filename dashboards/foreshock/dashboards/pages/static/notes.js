// Notes that people pin to a step of a run: written in a dialog, shown on the time line.

import { path, post } from "./api.js";
import { byId, setText } from "./element.js";

const AUTHOR = "foreshock-author";

// `stepNow()` is the step that the form begins with; `onNoted()` hears of a success.
export function openNotes(runId, { stepNow, onNoted }) {
  const dialog = byId("note-dialog");
  const form = dialog.querySelector("form");
  const error = form.querySelector(".error");
  const open = () => {
    form.elements.step.value = String(stepNow());
    form.elements.author.value = window.localStorage.getItem(AUTHOR) ?? "";
    error.hidden = true;
    dialog.showModal();
    form.elements.text.focus();
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const author = form.elements.author.value;
    const text = form.elements.text.value;
    try {
      await post(`runs/${path(runId)}/notes`, { step: Number(form.elements.step.value), author, text });
      window.localStorage.setItem(AUTHOR, author);
      form.elements.text.value = "";
      dialog.close();
      onNoted();
    } catch (failure) {
      error.hidden = false;
      setText(error, `Not noted: ${failure.message}`);
    }
  });
  form.querySelector("[name=cancel]").addEventListener("click", () => dialog.close());
  byId("add-note").addEventListener("click", open);
  return open;
}
