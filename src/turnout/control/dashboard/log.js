// The list of what happened to a job, newest first.

import { h, setChildren, stamp } from "./page.js";
import { sentence } from "./words.js";

const SHOWN = 12;
const GROUPS = [["all", "everything"], ["versions", "versions"], ["warnings", "warnings"], ["other", "starts and states"]];

export class EventLog {
  constructor(course) {
    this.course = course;
    this.shown = SHOWN;
    this.failed = [];
    this.list = h("ol", { class: "events" });
    this.more = h("button", { type: "button", onclick: () => this.grow() }, "Show more");
    this.select = h("select", { id: "events", onchange: () => this.show() }, GROUPS.map(([value, text]) => h("option", { value }, text)));
    this.element = h("section", { class: "card" },
      h("div", { class: "heading" }, h("h2", {}, "What happened"), h("label", { class: "field" }, "Show", this.select)),
      this.list, this.more);
  }

  /** A job that failed could not say so itself. */
  end(view) {
    this.failed = view.state === "failed" && view.finished_at ? [{ at: view.finished_at, kind: "failed", text: view.reason ?? "" }] : [];
  }

  /** Newest first; what was measured of a version stands with its publication. */
  events() {
    const { events, published, evaluated } = this.course;
    return [...this.failed, ...events.toReversed()].filter((event) => event.kind !== "evaluated" || !published.has(event.version))
      .map((event) => [event, event.kind === "published" ? evaluated.get(event.version)?.metrics : undefined]);
  }

  grow() {
    this.shown += 8 * SHOWN;
    this.show();
  }

  show() {
    const group = this.select.value;
    const key = `${group} ${this.shown} ${this.course.events.length} ${this.course.events.at(-1)?.at} ${this.failed.length}`;
    setChildren(this.list, key, () => {
      const found = this.events().map(([event, metrics]) => ({ event, ...sentence(event, metrics) }))
        .filter((row) => group === "all" || row.group === group);
      this.more.hidden = found.length <= this.shown;
      const rows = found.slice(0, this.shown).map(({ event, text, group: kind }) =>
        h("li", { class: kind }, stamp(event.at), h("span", {}, text)));
      return rows.length ? rows : [h("li", { class: "none" }, "Nothing of this kind yet.")];
    });
  }
}
