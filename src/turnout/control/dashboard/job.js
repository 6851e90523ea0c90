// The page of one job: follows its events and samples, and shows what they amount to.

import { Away, ask, askText, jobPath, listen } from "./api.js";
import { Actions } from "./actions.js";
import { plotly } from "./charts.js";
import { EventLog } from "./log.js";
import { count, duration, h, metric, setChildren, setText, short } from "./page.js";
import { Panels } from "./panels.js";
import { Course } from "./series.js";
import { FleetTable, RefusedTable, VersionTable } from "./tables.js";
import { hasEnded, headline, nobodyYet, repeats, stateOf, subject, waitingFor } from "./words.js";

const ACCOUNT_MS = 1000; // How often the job's account is asked for: all but the charts shows one and the same.
const OTHER_EVERY = 3; // The job that it is compared with is asked for at every third time.
const SPOKEN_MS = 15_000; // A screen reader hears what the job waits for at most this often.
const LOG_LINES = 200;

/** Show one job until `signal` aborts. `query.with` names a second one to compare with. */
export async function jobPage(main, link, signal, jobId, query) {
  document.title = `${jobId} · turnout`;
  const page = new JobPage(main, link, signal, jobId);
  try {
    await page.run(query.get("with"));
  } finally {
    page.close();
  }
}

class JobPage {
  constructor(main, link, signal, jobId) {
    Object.assign(this, { main, link, signal, jobId, course: new Course(), view: null, spokenAt: 0, drawing: 0, lastId: "", other: null, otherId: "" });
    this.panels = new Panels(this.course, jobId, (other) => this.compare(other));
    this.log = new EventLog(this.course);
    this.tables = [new RefusedTable(), new FleetTable(), new VersionTable(this.course)];
    this.actions = new Actions(jobId, this.course, (view) => this.took(view));
    this.build();
  }

  build() {
    this.badge = h("span", { class: "badge quiet" }, "…");
    this.about = h("h2", { class: "small" }, "Waits for");
    this.waiting = h("p", { class: "waiting", id: "waiting" }, "Loading…");
    this.progress = h("progress", { max: "1", value: "0", "aria-label": "Updates of the next version" });
    this.spoken = h("p", { class: "hidden", "aria-live": "polite" });
    this.warnings = h("ul", { class: "warnings" });
    this.nobody = h("p", { class: "note", hidden: true });
    this.card = h("section", { class: "card now", "aria-label": "What the job waits for" },
      this.about, this.waiting, this.progress, this.nobody, this.spoken, this.warnings);
    this.tiles = h("dl", { class: "tiles" });
    this.away = h("p", { class: "hint", hidden: true },
      "Charts need plotly, which is not installed here: ", h("code", {}, "pip install 'turnout[dashboard]'"),
      ", then restart turnout up. Numbers and tables work without it.");
    this.main.replaceChildren(
      h("nav", { class: "crumbs", "aria-label": "Where you are" }, h("a", { href: "#/" }, "All jobs")),
      h("div", { class: "title" }, h("h1", { tabindex: "-1" }, this.jobId), this.badge, this.actions.element),
      this.card,
      this.tiles, this.away, ...this.panels.sections,
      h("div", { class: "columns" }, this.tables.map((table) => table.element), this.log.element), this.output());
    plotly().then((Plotly) => (this.away.hidden = Plotly !== null));
    window.addEventListener("themechange", () => this.draw(true), { signal: this.signal });
    window.addEventListener("linkchange", () => this.draw(), { signal: this.signal });
  }

  /** What its process printed, fetched when it is opened. */
  output() {
    const text = h("pre", { tabindex: "0" }, "Loading…");
    const load = async () => {
      if (!details.open) return;
      const lines = await this.link.attempt(() => askText(jobPath(this.jobId, `/logs?lines=${LOG_LINES}`), this.signal))
        .catch((error) => error.message);
      setText(text, lines || "It has printed nothing.");
      text.scrollTop = text.scrollHeight;
    };
    const details = h("details", { class: "card output", ontoggle: load },
      h("summary", {}, "What its process printed"), text);
    return details;
  }

  async run(other) {
    this.took(await this.first());
    const work = [this.follow(), this.account()];
    ask("api/jobs", { signal: this.signal }).then((jobs) => this.panels.offer(jobs, other)).catch(() => {});
    await Promise.all(work);
    await new Promise((resolve) => this.signal.addEventListener("abort", resolve, { once: true }));
  }

  async first() {
    while (!this.signal.aborted) {
      const view = await this.link.attempt(() => ask(jobPath(this.jobId), { signal: this.signal }));
      if (view) return view;
      await this.link.pause(0, this.signal);
    }
    throw new Away("left");
  }

  /** Read its history and then what happens, anew whenever the stream breaks off, until it has ended. */
  async follow() {
    while (!this.signal.aborted) {
      await this.link.attempt(() => this.hear());
      if (this.view && hasEnded(this.view)) return;
      await this.link.pause(1000, this.signal);
    }
  }

  async hear() {
    const past = await ask(jobPath(this.jobId, "/history"), { signal: this.signal });
    this.course.load(past);
    this.lastId = past.last_event_id ?? this.lastId;
    this.link.heard();
    this.draw();
    if (this.view && hasEnded(this.view)) return;
    for await (const { id, kind, data } of listen(jobPath(this.jobId, "/events"), this.lastId, this.signal)) {
      this.lastId = id || this.lastId;
      if (kind === "event") this.course.addEvent(data);
      if (kind === "sample") this.course.addSample(data);
      if (kind === "end") break;
      this.draw();
    }
    this.took(await ask(jobPath(this.jobId), { signal: this.signal }));
  }

  /** Ask for its account again and again; samples, of which charts are drawn, do not carry all of it. */
  async account() {
    for (let time = 1; !this.signal.aborted && !hasEnded(this.view); time++) {
      await this.link.pause(ACCOUNT_MS, this.signal);
      const view = await this.link.attempt(() => ask(jobPath(this.jobId), { signal: this.signal }));
      if (time % OTHER_EVERY === 0) await this.refreshOther();
      if (view) this.took(view);
    }
  }

  took(view) {
    this.view = view;
    this.draw();
  }

  async compare(jobId) {
    const address = `#/jobs/${encodeURIComponent(this.jobId)}${jobId ? `?with=${encodeURIComponent(jobId)}` : ""}`;
    history.replaceState(null, "", address);
    this.otherId = jobId;
    this.other = jobId ? new Course() : null;
    await this.refreshOther();
    this.panels.beside(this.other, jobId);
  }

  /** What is new of the job that this one is compared with. */
  async refreshOther() {
    const { other, otherId } = this;
    if (!other) return;
    const since = other.events.at(-1)?.at ?? 0;
    const path = jobPath(otherId, `/history?since=${since}`);
    const gone = () => (this.other = null); // deleted meanwhile: what is drawn of it stays
    const past = await this.link.attempt(() => ask(path, { signal: this.signal })).catch(gone);
    other.load(past ?? {});
  }

  /** Draw once per frame, however much has come. */
  draw() {
    if (this.drawing || this.signal.aborted) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      if (this.view && !this.signal.aborted) this.update();
    });
  }

  update() {
    const { view, course } = this;
    const status = hasEnded(view) ? course.totals(view.status ?? {}) : (view.status ?? {});
    const newest = { ...view, status: view.status ? status : null };
    const { text, tone } = stateOf(newest);
    setText(this.badge, text);
    this.badge.className = `badge ${tone}`;
    this.card.className = `card now ${tone}`;
    const words = waitingFor(newest);
    setText(this.about, subject(newest));
    setText(this.waiting, words);
    this.nobody.hidden = !nobodyYet(newest);
    setText(this.nobody, `No device has come yet. Devices ask for the job "${view.name}" at the address that turnout up has printed.`);
    this.speak(`${text}. ${words}`);
    this.progress.hidden = hasEnded(view) || !(status.goal > 0);
    this.progress.max = status.goal || 1;
    this.progress.value = status.buffered ?? 0;
    const warnings = (status.warnings ?? []).filter((warning) => !repeats(warning, words));
    setChildren(this.warnings, JSON.stringify(warnings), () => warnings.map((warning) => h("li", {}, warning)));
    this.showTiles(status);
    this.actions.show({ ...view, status }, status.state ?? "", this.link.failures > 0);
    this.tables.forEach((table) => table.show(status, hasEnded(view)));
    this.log.end(view);
    this.log.show();
    this.panels.workflow = status.workflow;
    this.panels.show(hasEnded(view));
    const version = status.version ?? 0;
    document.title = `${this.jobId}: ${text}, version ${version} · turnout`;
  }

  speak(words) {
    if (Date.now() - this.spokenAt < SPOKEN_MS) return;
    this.spokenAt = Date.now();
    setText(this.spoken, words);
  }

  showTiles(status) {
    const { course, view } = this;
    const sampledAt = hasEnded(view) ? undefined : course.newest?.at;
    const pace = course.pace(sampledAt ?? 0).at(-1)?.value;
    const last = course.newestMeasured();
    const newest = headline(last?.metrics ?? status.metrics);
    if (newest) newest.version = last ? (last.version ?? 0) : (status.metrics_version ?? 0);
    const best = status.best_metric ?? null;
    const end = view.finished_at ?? sampledAt ?? Date.now() / 1000;
    const waits = status.waiting ?? 0;
    const waiting = waits ? `, ${count(waits)} waiting` : "";
    const tiles = [
      ["Version", count(status.version ?? 0), ""],
      [newest ? newest.name : "Measured", newest ? newest.value : "–",
        newest ? measuredOf(newest.version, best, status.best_version ?? 0) : ""],
      ["Updates counted", count(status.counted ?? 0), ""],
      ["Devices training", hasEnded(view) ? "–" : count(status.training ?? 0),
        hasEnded(view) || !status.places ? "" : `of ${count(status.places)} places${waiting}`],
      ["Versions per hour", short(pace), ""],
      [hasEnded(view) ? "Took" : "Running for", duration(end - view.submitted_at), ""],
    ];
    setChildren(this.tiles, tiles.map(([name]) => name).join(), () => tiles.map(([name]) =>
      h("div", { class: "tile" }, h("dt", {}, name), h("dd", { class: "big" }), h("dd", { class: "note" }))));
    tiles.forEach(([, value, note], i) => {
      setText(this.tiles.children[i].children[1], value);
      setText(this.tiles.children[i].children[2], note);
    });
  }

  close() {
    cancelAnimationFrame(this.drawing);
    this.panels.close();
  }
}

/** Which version a tile's metric is of, and which is the best. */
const measuredOf = (version, best, bestVersion) =>
  `of version ${version}${best === null || bestVersion === version ? "" : `; best ${metric(best)} of ${bestVersion}`}`;
