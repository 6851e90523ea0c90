// The charts of a job, in three sections: what it learns, its fleet, and the server around it.

import { Chart } from "./charts.js";
import { bytes, count, h, metric, milliseconds, short } from "./page.js";
import { gauge, last, rate, reasons, sparse, unitOf, within } from "./series.js";
import { isSpare, reason } from "./words.js";

const METRICS_MAX = 6; // Charts of metrics; more would hide the rest.
const REASONS_MAX = 3; // Reasons of refusal with a line of their own; the table has all.
const WINDOWS_S = { "5 minutes": 300, "15 minutes": 900, "1 hour": 3600 };
const LOST_S = 60;
const SHOWN_S_MIN = 30; // Of a job that has just begun: its first seconds do not fill the width.
const REASON_COLOURS = ["red", "orange", "purple"];
const NOT_KEPT = "Not kept: control remembers this for an hour, while it runs.";
const AXIS_TIME = { date: true, hover: "%{y:,.4~g}" };

export class Panels {
  /** `compare` is called with the id of the job to compare with, or "". */
  constructor(course, jobId, compare) {
    Object.assign(this, { course, jobId, other: null, otherId: "", axis: "version", seconds: 900 });
    this.metrics = new Map();
    this.unmeasured = h("figure", { class: "card chart" }, h("h3", {}, "Metrics"),
      h("p", { class: "none" }, "Nothing measured yet. A job measures each version when the server.py in its folder has evaluate(model)."));
    this.pace = new Chart("Versions per hour", "over the last ten", "Known after two versions.");
    this.devices = new Chart("Devices", "", "No device has asked for a task yet.");
    this.results = new Chart("Results per second", "", "No device has reported a result yet.");
    this.staleness = new Chart("Staleness of counted updates", "", "No update has been counted yet.");
    this.requests = new Chart("Requests per second", "all jobs");
    this.latency = new Chart("Latency of requests", "all jobs");
    this.acks = new Chart("Until a result is acknowledged");
    this.traffic = new Chart("Traffic per second", "all jobs");
    this.select = h("select", { id: "compare", onchange: () => compare(this.select.value) }, h("option", { value: "" }, "no other job"));
    this.learning = h("div", { class: "charts" }, this.unmeasured, this.pace.element);
    this.sections = [
      section("Learning", [this.axisSwitch(), h("label", { class: "field" }, "Compare with", this.select)], this.learning),
      section("Fleet", [this.windowSelect()], grid(this.devices, this.results, this.staleness)),
      section("Server", [], grid(this.requests, this.latency, this.acks, this.traffic), "four"),
    ];
  }

  axisSwitch() {
    const choice = (value, text) =>
      h("label", {}, h("input", { type: "radio", name: "axis", value, checked: value === this.axis,
        onchange: () => this.turn(value) }), h("span", {}, text));
    return h("fieldset", { class: "switch" }, h("legend", { class: "hidden" }, "Metrics are drawn"),
      choice("version", "by version"), choice("seconds", "by time"));
  }

  windowSelect() {
    const options = Object.entries(WINDOWS_S).map(([text, seconds]) =>
      h("option", { value: seconds, selected: seconds === this.seconds }, text));
    const change = (event) => {
      this.seconds = Number(event.target.value);
      this.show();
    };
    return h("label", { class: "field" }, "Show the last", h("select", { id: "window", onchange: change }, options));
  }

  turn(axis) {
    this.axis = axis;
    this.show();
  }

  /** Offer other jobs for comparison; `chosen` is compared with at once. */
  offer(jobs, chosen) {
    const others = jobs.filter((job) => job.job_id !== this.jobId).slice(0, 100);
    this.select.append(...others.map((job) => h("option", { value: job.job_id }, job.job_id)));
    if (chosen && others.some((job) => job.job_id === chosen)) {
      this.select.value = chosen;
      this.select.dispatchEvent(new Event("change"));
    }
  }

  /** Draw another job's course on the same charts; null ends it. */
  beside(course, jobId) {
    this.other = course;
    this.otherId = jobId;
    this.show();
  }

  /** `ended`: what is not known will not be known. */
  show(ended = this.ended) {
    this.ended = ended;
    if (ended) this.sampled().forEach((chart) => chart.say(NOT_KEPT));
    this.showMetrics();
    this.showPace();
    const kept = this.course.recent(this.seconds);
    const end = this.course.newest?.at ?? 0;
    const begin = Math.max(end - this.seconds, kept[0]?.at ?? 0);
    const range = ended ? [Math.min(begin, end - 1), end] : [begin, Math.max(end, begin + SHOWN_S_MIN)];
    const axes = { ...AXIS_TIME, range };
    this.showFleet(kept, axes);
    this.showServer(kept, axes);
  }

  showMetrics() {
    const names = [...new Set([...this.course.metricNames(), ...(this.other?.metricNames() ?? [])])].slice(0, METRICS_MAX);
    for (const name of names.filter((name) => !this.metrics.has(name))) {
      const chart = new Chart(name);
      this.metrics.set(name, chart);
      this.learning.insertBefore(chart.element, this.pace.element);
    }
    this.unmeasured.hidden = this.metrics.size > 0;
    const byVersion = this.axis === "version";
    for (const [name, chart] of this.metrics) {
      const [lines, unit] = this.both((course) => course.metric(name), this.axis, metric);
      const axes = { xTitle: byVersion ? "version" : `${unit} since the start`, whole: byVersion, fromZero: false, hover: "%{y:.4~f}" };
      chart.show(lines, axes);
    }
  }

  showPace() {
    const end = this.ended ? 0 : (this.course.newest?.at ?? 0);
    const [lines, unit] = this.both((course) => course.pace(course === this.course ? end : 0), "seconds", short);
    this.pace.show(lines, { xTitle: `${unit} since the start`, hover: "%{y:,.3~g}" });
  }

  /** This job's line, and the other's beside it; and the unit of their times. */
  both(read, axis, words) {
    const courses = this.other ? [this.course, this.other] : [this.course];
    const drawn = courses.map((course) => sparse(read(course)));
    const [unit, size] = axis === "seconds" ? unitOf(Math.max(0, ...drawn.map((points) => points.at(-1)?.seconds ?? 0))) : ["", 1];
    const looks = [{ name: this.other ? this.jobId : "newest", colour: "blue", dashed: false },
      { name: this.otherId, colour: "orange", dashed: true }];
    const lines = drawn.map((points, i) => {
      const line = { x: points.map((point) => point[axis] / size), y: points.map((point) => point.value) };
      return { ...line, ...looks[i], value: words(last(line)) };
    });
    return [lines, unit];
  }

  showFleet(kept, axes) {
    const training = gauge(kept, (sample) => sample.training ?? 0);
    const waiting = gauge(kept, (sample) => sample.waiting);
    const lost = within(kept, (sample) => sample.lost, LOST_S);
    this.overTime(this.devices, [
      named("training", "blue", training, count),
      named("waiting", "grey", waiting, count),
      named("lost per minute", "red", lost, count),
    ], axes);
    const refused = reasons(this.course.newest).slice(0, REASONS_MAX);
    this.overTime(this.results, [
      named("counted", "green", rate(kept, (sample) => sample.counted), short),
      ...refused.map(([name], i) =>
        named(isSpare(name, this.workflow) ? "spare" : reason(name), isSpare(name, this.workflow) ? "grey" : REASON_COLOURS[i], rate(kept, (sample) => sample.refused?.[name]), short)),
    ], axes);
    const stale = Object.entries(this.course.newest?.staleness ?? {}).map(([n, many]) => [Number(n), many]).sort((a, b) => a[0] - b[0]);
    const bars = { x: stale.map(([n]) => n), y: stale.map(([, many]) => many) };
    const all = bars.y.reduce((sum, many) => sum + many, 0);
    const mean = all ? stale.reduce((sum, [n, many]) => sum + n * many, 0) / all : null;
    this.staleness.show([{ ...bars, name: "mean", colour: "purple", value: short(mean) }],
      { bars: true, whole: true, dtick: stale.length < 12 ? 1 : undefined, xTitle: "versions behind",
        hover: "%{y:,} updates, %{x} behind<extra></extra>" });
  }

  showServer(kept, axes) {
    const time = { ...axes, unit: " ms", hover: "%{y:,.3~g} ms" };
    this.overTime(this.requests, [named("requests", "blue", gauge(kept, (sample) => sample.requests_per_s), short)], axes);
    this.overTime(this.latency, percentiles(kept, "latency_ms"), time);
    this.overTime(this.acks, percentiles(kept, "ack_ms"), time);
    this.overTime(this.traffic, [
      named("from devices", "blue", rate(kept, (sample) => sample.bytes_in), bytes),
      named("to devices", "orange", rate(kept, (sample) => sample.bytes_out), bytes),
    ], { ...axes, unit: "B", hover: "%{y:.3~s}B" });
  }

  /** A chart of what is so now; of a job that has ended nothing is, so its legend only names the lines. */
  overTime(chart, lines, axes) {
    chart.show(this.ended ? lines.map((line) => ({ ...line, value: "" })) : lines, axes);
  }

  /** The charts that are drawn from samples. */
  sampled() {
    return [this.devices, this.results, this.staleness, this.requests, this.latency, this.acks, this.traffic];
  }

  close() {
    [...this.metrics.values(), this.pace, ...this.sampled()].forEach((chart) => chart.close());
  }
}

const named = (name, colour, line, words) => ({ ...line, name, colour, value: words(last(line)) });

const percentiles = (kept, field) => [
  named("median", "blue", gauge(kept, (sample) => sample[field]?.p50), milliseconds),
  named("slowest of 100", "orange", gauge(kept, (sample) => sample[field]?.p99), milliseconds),
];

const grid = (...charts) => h("div", { class: "charts" }, charts.map((chart) => chart.element));

function section(title, tools, body, kind) {
  if (kind) body.classList.add(kind);
  const id = `section-${title.toLowerCase()}`;
  return h("section", { "aria-labelledby": id },
    h("div", { class: "heading" }, h("h2", { id }, title), h("div", { class: "tools" }, tools)), body);
}
