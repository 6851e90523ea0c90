// Tables of a job: refused results, the fleet by group, the newest versions.

import { clock, count, duration, h, metric, setChildren } from "./page.js";
import { reasons } from "./series.js";
import { isSpare, reason } from "./words.js";

const VERSIONS_SHOWN = 10;
const REFUSALS_SHOWN = 5; // Groups of devices of which the newest refusal is told.

function table(caption, heads, rows, none) {
  if (rows.length === 0) return h("p", { class: "none" }, none);
  const cell = (text, i) => (i === 0 ? h("th", { scope: "row", class: heads[0][1] }, text) : h("td", { class: heads[i][1] }, text));
  return h("div", { class: "scroll" }, h("table", {},
    h("caption", { class: "hidden" }, caption),
    h("thead", {}, h("tr", {}, heads.map(([text, kind]) => h("th", { scope: "col", class: kind }, text)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
}

class Card {
  constructor(title) {
    this.body = h("div", {});
    this.element = h("section", { class: "card" }, h("h2", {}, title), this.body);
  }

  fill(caption, heads, rows, none, ...notes) {
    const below = notes.map((note) => h("p", { class: "never" }, note));
    setChildren(this.body, JSON.stringify([heads, rows, notes]), () => [table(caption, heads, rows, none), ...below]);
  }
}

const groupName = (group) => `${group.platform || "devices that say no platform"} ${group.app_version ?? ""}`.trim();

/** What became of the results that came. */
export class RefusedTable extends Card {
  constructor() {
    super("Results");
  }

  show(status) {
    const { counted = 0, duplicates = 0 } = status;
    const refused = reasons(status);
    const all = refused.reduce((sum, [, many]) => sum + many, counted);
    const share = (many) => (all ? `${((100 * many) / all).toFixed(1)} %` : "–");
    const called = (name) => (isSpare(name, status.workflow) ? "spare: after its round had enough" : `refused: ${reason(name)}`);
    const rows = [["counted", count(counted), share(counted)],
      ...refused.map(([name, many]) => [called(name), count(many), share(many)])];
    const without = status.metrics_left_out ?? 0;
    if (without) rows.push(["counted without some metrics", count(without), share(without)]);
    if (duplicates) rows.push(["sent again, counted once", count(duplicates), ""]);
    this.fill("Results by what became of them", [["Outcome"], ["Results", "number"], ["Share", "number"]],
      all ? rows : [], "No device has reported a result yet.", ...(without ? [`Metrics left out last: ${status.newest_left_out}`] : []));
  }
}

/** The devices by platform and version of their app; not one row per device. */
export class FleetTable extends Card {
  constructor() {
    super("Devices by platform");
  }

  show(status, ended) {
    const heads = [["Platform"], ["App"], ["Training", "number"], ["Counted", "number"], ["Refused", "number"], ["Lost", "number"], ["Zeros", "number"]];
    const fleet = status.fleet ?? [];
    const rows = fleet.map((group) => [group.platform || "not said", group.app_version || "–",
      ended ? "–" : count(group.training ?? 0),
      ...[group.counted, group.refused, group.lost, group.zeros].map((many) => count(many ?? 0))]);
    const never = fleet.filter((group) => !group.counted && (group.refused || group.lost)).map(groupName);
    const notes = never.length ? [`No result was ever counted of ${never.join(", ")}.`] : [];
    const idle = fleet.filter((group) => group.zeros && group.zeros >= (group.counted ?? 0)).map(groupName);
    if (idle.length) notes.push(`All updates of ${idle.join(", ")} are zeros: these devices do not train.`);
    for (const group of fleet.filter((each) => each.newest_refusal).slice(0, REFUSALS_SHOWN)) {
      const why = reasons({ refused: group.refusals }).map(([name, many]) => `${reason(name)} ${count(many)}`).join(", ");
      notes.push(`Refused of ${groupName(group)}: ${why}; the newest: ${group.newest_refusal}`);
    }
    this.fill("Devices by platform and app version", heads, rows, "No device has asked for a task yet.", ...notes);
  }
}

/** The newest versions with what was measured. */
export class VersionTable extends Card {
  constructor(course) {
    super("Newest versions");
    this.course = course;
  }

  show() {
    const names = this.course.metricNames();
    const heads = [["Version"], ["Published"], ["Took", "number wide"], ["Updates so far", "number wide"], ...names.map((name) => [name, "number"])];
    const newest = [...this.course.published.entries()].sort((a, b) => b[0] - a[0]).slice(0, VERSIONS_SHOWN);
    const rows = newest.map(([version, event]) => [count(version), clock(event.at),
      event.took_s ? duration(event.took_s) : "–", event.counted ? count(event.counted) : "–",
      ...names.map((name) => metric(this.course.evaluated.get(version)?.metrics?.[name]))]);
    this.fill("The newest versions and what was measured", heads, rows, "No version has been published yet.");
  }
}
