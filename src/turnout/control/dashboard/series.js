// What a job's events and samples amount to: pure, numbers in and numbers out. Times are seconds since 1970.

const SAMPLES_MAX = 3600; // An hour of them; control keeps as many.
const EVENTS_MAX = 20_000;
const POINTS_MAX = 120; // Of one line: more is noise in a small chart.
const WIDTHS_S = [1, 2, 5, 10, 15, 30]; // Of the stretches that a line's points stand for.
const COURSE_POINTS_MAX = 600; // Of a line over all versions.
const GAP_S = 5; // Without samples for longer, a line is interrupted.
const UNITS = [["seconds", 1], ["minutes", 60], ["hours", 3600], ["days", 86_400]];
const RATE_VERSIONS = 10; // Versions per hour are measured over this many.

/** All that is known of one job's course. What comes twice is kept once. */
export class Course {
  constructor() {
    this.events = [];
    this.samples = [];
    this.published = new Map(); // version -> its first event: a restart may publish a version again
    this.evaluated = new Map();
    this.seen = new Set();
  }

  load({ events = [], samples = [] }) {
    events.forEach((event) => this.addEvent(event));
    samples.forEach((sample) => this.addSample(sample));
  }

  addEvent(event) {
    const key = `${event.at} ${event.kind} ${event.version ?? 0} ${event.text ?? ""}`;
    if (this.seen.has(key)) return;
    keep(this.seen.add(key));
    this.events.push(event);
    if (this.events.length > EVENTS_MAX) this.events.shift();
    const version = event.version ?? 0;
    if (event.kind === "published" && !this.published.has(version)) keep(this.published.set(version, event));
    if (event.kind === "evaluated") keep(this.evaluated.set(version, event));
  }

  addSample(sample) {
    if (sample.at <= (this.samples.at(-1)?.at ?? 0)) return;
    this.samples.push(sample);
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }

  get newest() {
    return this.samples.at(-1);
  }

  get startedAt() {
    return this.events[0]?.at ?? this.samples[0]?.at ?? 0;
  }

  metricNames() {
    const names = new Set();
    for (const event of this.evaluated.values()) Object.keys(event.metrics ?? {}).forEach((name) => names.add(name));
    return [...names];
  }

  /** The event of what was measured last; undefined before the first time. */
  newestMeasured() {
    return [...this.evaluated.values()].at(-1);
  }

  /** One metric's course: points with the version, the seconds since the start, and the value; null where measuring failed. */
  metric(name) {
    const points = [...this.evaluated.entries()]
      .filter(([, event]) => name in (event.metrics ?? {}))
      .map(([version, event]) => ({ version, seconds: event.at - this.startedAt, value: event.metrics[name] }))
      .concat(this.events.filter((event) => event.kind === "evaluation_failed" && !this.evaluated.has(event.version ?? 0))
        .map((event) => ({ version: event.version ?? 0, seconds: event.at - this.startedAt, value: null })))
      .sort((a, b) => a.version - b.version);
    const [version, event] = [...this.published.entries()].at(-1) ?? [];
    const fails = points.at(-1)?.value === null && version > points.at(-1).version;
    return fails ? [...points, { version, seconds: event.at - this.startedAt, value: null }] : points; // the axis continues
  }

  /** When the job was paused: {begin, end} of each time; the last may not have ended. */
  pauses() {
    const states = this.events.filter((event) => event.kind === "state"); // a new start ends no pause
    return states.map((event, i) => ({ paused: event.text === "PAUSED", begin: event.at, end: states[i + 1]?.at ?? Infinity }))
      .filter(({ paused }) => paused);
  }

  /**
   * Versions per hour after each version, measured over the last ten; and now, when the next one is overdue. Null at a
   * pause, where the line is interrupted, and during one: nothing is overdue then.
   */
  pace(now) {
    const times = [...this.published.values()].map((event) => event.at).sort((a, b) => a - b);
    const points = [];
    const pauses = this.pauses();
    const add = (point) => {
      const before = points.at(-1);
      const paused = before && pauses.some(({ begin, end }) => begin < point.at && end > before.at);
      points.push(...(paused ? [{ ...before, value: null }] : []), point);
    };
    for (let i = 1; i < times.length; i++) {
      const first = Math.max(0, i - RATE_VERSIONS);
      add(pacePoint(times[i], this.startedAt, i - first, times[i] - times[first]));
    }
    const last = times.length - 1;
    const first = Math.max(0, last - RATE_VERSIONS);
    if (pauses.at(-1)?.end === Infinity) points.push(...points.slice(-1).map((point) => ({ ...point, value: null })));
    else if (last >= 1 && now > times[last] + (times[last] - times[first]) / (last - first)) {
      add(pacePoint(now, this.startedAt, last - first, now - times[first]));
    }
    return points;
  }

  /** What an ended job says of itself, brought up to its last version: its process may have ended without saying so. */
  totals(status) {
    const last = this.events.findLast((event) => event.kind === "published");
    return { ...status, version: Math.max(status.version ?? 0, last?.version ?? 0), counted: Math.max(status.counted ?? 0, last?.counted ?? 0) };
  }

  /** The samples of the last `seconds`, thinned to as many points as a chart can show. */
  recent(seconds) {
    const end = this.newest?.at ?? 0;
    return thin(this.samples.filter((sample) => sample.at >= end - seconds));
  }
}

/** Forget the oldest of a set or map that has grown beyond its bound. */
function keep(entries) {
  if (entries.size > EVENTS_MAX) entries.delete(entries.keys().next().value);
}

/** The unit in which a number of seconds is best told, and how many seconds it has. */
export function unitOf(seconds) {
  return UNITS.find(([, size]) => seconds < 180 * size) ?? UNITS.at(-1);
}

/** Points enough to draw a long course: every nth, and the last. */
export function sparse(points) {
  const step = Math.ceil(points.length / COURSE_POINTS_MAX);
  return step <= 1 ? points : points.filter((point, i) => i % step === 0 || point.value === null || i === points.length - 1);
}

const pacePoint = (at, startedAt, versions, seconds) => ({
  at,
  seconds: at - startedAt,
  value: seconds > 0 ? (versions * 3600) / seconds : null,
});

/** Of each stretch of time its last sample; where samples are missing, null. Stretches stand still as time passes. */
export function thin(samples) {
  const seconds = (samples.at(-1)?.at ?? 0) - (samples[0]?.at ?? 0);
  const width = WIDTHS_S.find((width) => width * POINTS_MAX >= seconds) ?? WIDTHS_S.at(-1);
  const kept = [];
  let stretch = null;
  for (const sample of samples) {
    const previous = kept.at(-1);
    if (previous && sample.at - previous.at > width + GAP_S) {
      kept.push(null);
      stretch = null;
    }
    const now = Math.floor(sample.at / width);
    if (now === stretch) kept[kept.length - 1] = sample;
    else kept.push(sample);
    stretch = now;
  }
  return kept;
}

/** A value over time: {x: [at], y: [value]}, null where nothing is known. */
export function gauge(kept, read) {
  const line = { x: [], y: [] };
  kept.forEach((sample, i) => {
    line.x.push(sample ? sample.at : kept[i - 1].at + 1);
    line.y.push(sample ? (read(sample) ?? null) : null);
  });
  return line;
}

/** How fast a count grew, per second: {x, y}. A count that fell began anew, and says nothing. */
export function rate(kept, read) {
  const line = { x: [], y: [] };
  kept.forEach((sample, i) => {
    const before = kept[i - 1];
    if (i === 0) return;
    line.x.push(sample ? sample.at : before.at + 1);
    line.y.push(sample && before ? growth(before, sample, read) : null);
  });
  return line;
}

function growth(before, after, read) {
  const more = (read(after) ?? 0) - (read(before) ?? 0);
  return more < 0 || after.at <= before.at ? null : more / (after.at - before.at);
}

/** By how much a count grew in the `seconds` before each sample: {x, y}. */
export function within(kept, read, seconds) {
  const line = { x: [], y: [] };
  let first = 0;
  kept.forEach((sample, i) => {
    line.x.push(sample ? sample.at : kept[i - 1].at + 1);
    if (!sample) return line.y.push(null);
    while (!kept[first] || sample.at - kept[first].at > seconds) first += 1;
    return line.y.push(Math.max(0, (read(sample) ?? 0) - (read(kept[first]) ?? 0)));
  });
  return line;
}

export const last = (line) => line.y.findLast((value) => value !== null) ?? null;

/** The reasons of refusal, most frequent first. */
export const reasons = (sample) =>
  Object.entries(sample?.refused ?? {})
    .filter(([, number]) => number > 0)
    .sort((a, b) => b[1] - a[1]);
