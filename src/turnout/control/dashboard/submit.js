// Handing in a job: a job folder as a zip, chosen in a dialog or dropped on the page. What is wrong with it is said in
// the words of the API.

import { upload } from "./api.js";
import { bytes, h, setText, show } from "./page.js";

const BYTES_MAX = 512 * 1024 * 1024; // As the API takes.
const COMMAND = "cd FOLDER && zip -r ../job.zip .";
const WHAT = "At most 512 MB. It starts as soon as the server has looked through it, and its code can do all that the server's account can.";

/** The button, for the page that also takes what is dropped on it while `signal` lasts. */
export function submission(signal) {
  const over = (yes) => document.body.classList.toggle("dropping", yes);
  const dropped = (event) => {
    over(false);
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    ask(file);
  };
  const dragged = (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    over(true);
  };
  window.addEventListener("dragover", dragged, { signal });
  window.addEventListener("dragleave", (event) => event.relatedTarget || over(false), { signal });
  window.addEventListener("drop", dropped, { signal });
  return h("button", { type: "button", onclick: () => ask() }, "Submit a job…");
}

/** The dialog; `file` was dropped. Nothing is sent before a person says so. */
function ask(file = null) {
  const leaving = new AbortController();
  let chosen = file;
  const input = h("input", { type: "file", id: "folder", accept: ".zip,application/zip", autofocus: !file, onchange: () => choose(input.files[0]) });
  const named = h("p", { class: "note", id: "chosen" });
  const said = h("p", { class: "wrong", role: "alert" });
  const progress = h("progress", { max: "1", value: "0", "aria-label": "Sent", hidden: true });
  const go = h("button", { type: "button", class: "primary", autofocus: Boolean(file), onclick: () => send() }, "Submit it");
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");

  const name = () => setText(named, chosen ? `${chosen.name}, ${bytes(chosen.size)}` : "");
  const choose = (found) => {
    chosen = found ?? null;
    name();
    const large = chosen && chosen.size > BYTES_MAX;
    setText(said, large ? "This is larger than 512 MB, which the server does not take: keep data sets elsewhere." : "");
    go.disabled = !chosen || large;
  };
  const send = async () => {
    setText(said, "");
    go.disabled = input.disabled = true;
    progress.hidden = false;
    try {
      const job = await upload("api/jobs", chosen, "application/zip", (share) => told(share), leaving.signal);
      dialog.close();
      location.hash = `#/jobs/${encodeURIComponent(job.job_id)}`;
    } catch (error) {
      name();
      setText(said, error.message);
      go.disabled = input.disabled = false;
      progress.hidden = true;
    }
  };
  const told = (share) => {
    progress.value = share;
    if (share === 1) setText(named, "Sent; the server looks through it.");
  };

  const what = h("p", {}, "A job folder as a zip, with job.toml at its top, as ", h("code", {}, COMMAND), " makes it. ", WHAT);
  const field = h("label", { class: "field", for: "folder" }, "Zip of a job folder", input);
  const dialog = show("Submit a job", [what, field, named, progress, said], [cancel, go]);
  dialog.addEventListener("close", () => leaving.abort(), { once: true });
  choose(file);
}
