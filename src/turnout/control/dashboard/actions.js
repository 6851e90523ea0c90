// What a person can do with a job: pause, resume, download, cancel, start again, delete.

import { ask, download, jobPath } from "./api.js";
import { bytes, confirm, h, metric, show } from "./page.js";
import { canStart, hasEnded } from "./words.js";

export class Actions {
  /** `took` is given the job's view after it was changed. */
  constructor(jobId, course, took) {
    Object.assign(this, { jobId, course, took, view: null });
    this.pause = h("button", { type: "button", onclick: () => this.act(this.paused ? "resume" : "pause") }, "Pause");
    this.again = h("button", { type: "button", onclick: () => this.start() }, "Start again");
    this.get = h("button", { type: "button", onclick: () => this.downloads() }, "Download…");
    this.stop = h("button", { type: "button", class: "danger", onclick: () => this.cancel() }, "Cancel job…");
    this.remove = h("button", { type: "button", class: "danger", onclick: () => this.forget() }, "Delete…");
    this.said = h("p", { class: "said", role: "status" });
    this.element = h("div", { class: "actions" }, this.pause, this.again, this.get, this.stop, this.remove, this.said);
    this.element.hidden = true;
  }

  /** `away`: control does not answer, so that nothing of this can be done now. */
  show(view, state, away) {
    this.view = view;
    this.paused = state === "PAUSED";
    this.element.hidden = false;
    const ended = hasEnded(view);
    this.pause.textContent = this.paused ? "Resume" : "Pause";
    this.pause.hidden = this.stop.hidden = ended;
    this.pause.disabled = this.stop.disabled = away || view.state === "cancelling";
    this.again.disabled = this.get.disabled = this.remove.disabled = away;
    this.remove.hidden = !ended;
    this.again.hidden = !canStart(view);
  }

  async act(what) {
    await this.attempt(async () => {
      await ask(jobPath(this.jobId, `/${what}`), { method: "POST" });
      this.took(await ask(jobPath(this.jobId)));
    });
  }

  async cancel() {
    const text = "Devices get no more tasks of it. Its models and its history are kept. "
      + "It does not start again by itself.";
    if (await confirm({ title: `Cancel ${this.jobId}?`, text, yes: "Cancel the job", no: "Keep it running" })) await this.act("cancel");
  }

  /** A cancelled or failed job continues from its journal, and its page begins anew. */
  async start() {
    await this.attempt(async () => {
      await ask(jobPath(this.jobId, "/start"), { method: "POST" });
      window.dispatchEvent(new Event("hashchange"));
    });
  }

  async forget() {
    const text = "Its models, its journal and its history are removed from the server's disk. This cannot be undone.";
    if (!(await confirm({ title: `Delete ${this.jobId}?`, text, yes: "Delete it" }))) return;
    await this.attempt(async () => {
      await ask(jobPath(this.jobId), { method: "DELETE" });
      location.hash = "#/";
    });
  }

  /** A dialog with every file there is to take. */
  downloads() {
    const status = this.view.status ?? {};
    const rows = [modelRow("Newest model", `version ${status.version ?? 0}`, "newest")];
    if ((status.best_metric ?? null) !== null) rows.push(modelRow("Best model", about(status.best_version ?? 0, status.best_metric), "best"));
    const kept = (status.kept ?? []).filter((model) => model.version !== status.version
      && ((status.best_metric ?? null) === null || model.version !== (status.best_version ?? 0)));
    rows.push(...kept.toReversed().map((model) => modelRow(`Version ${model.version}`, size(model), model.version)));
    const [list, other] = [rows.map((row) => this.row(row)), this.others()];
    const close = h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Close");
    const dialog = show(`Download from ${this.jobId}`, [h("ul", { class: "downloads" }, list, other)], [close]);
  }

  row({ name, note, version }) {
    const file = (format) => h("button", { type: "button", "aria-label": `${name} as ${format}`, onclick: () => this.fetch(
      `/model?version=${version}&format=${format}`, `${this.jobId}-${version}.${format}`) }, format);
    return h("li", {}, h("span", {}, name, h("span", { class: "note" }, note)), h("span", { class: "files" }, file("safetensors"), file("npz")));
  }

  others() {
    const history = { name: "History", note: "events and the last hour of samples", path: "/history", file: "history.json" };
    const backup = { name: "Backup", note: "the journal, for turnout restore", path: "/backup", file: "backup" };
    return [history, backup].map(({ name, note, path, file }) => h("li", {}, h("span", {}, name, h("span", { class: "note" }, note)),
      h("span", { class: "files" }, h("button", { type: "button", "aria-label": name,
        onclick: () => this.fetch(path, `${this.jobId}.${file}`) }, file.split(".").at(-1)))));
  }

  fetch(path, filename) {
    return this.attempt(() => download(jobPath(this.jobId, path), filename));
  }

  async attempt(work) {
    this.said.textContent = "";
    try {
      await work();
    } catch (error) {
      this.said.textContent = error.message;
    }
  }
}

const modelRow = (name, note, version) => ({ name, note, version });
const about = (version, value) => `version ${version}${value === null || value === undefined ? "" : `, ${metric(value)}`}`;
const size = (model) => [model.num_bytes ? bytes(model.num_bytes) : "", ...Object.entries(model.metrics ?? {})
  .map(([name, value]) => `${name} ${metric(value)}`)].filter(Boolean).join(", ");
