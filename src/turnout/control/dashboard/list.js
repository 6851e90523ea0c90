// The page of all jobs.

import { ask, jobPath } from "./api.js";
import { h, stamp, count, setChildren } from "./page.js";
import { submission } from "./submit.js";
import { hasEnded, headline, stateOf, subject, waitingFor } from "./words.js";

const POLL_MS = 2000;
const ASKED_MAX = 20; // Jobs whose own account is asked for at once, where the list does not carry it.

/** Show the jobs until `signal` aborts. `link` tells whether control answers. */
export async function listPage(main, link, signal) {
  document.title = "Jobs · turnout";
  const summary = h("p", { class: "summary", role: "status" });
  const body = h("div", { class: "list" }, h("p", { class: "none" }, "Loading…"));
  const server = h("p", { class: "server" });
  main.replaceChildren(h("div", { class: "title" }, h("h1", { tabindex: "-1" }, "Jobs"), server, submission(signal)), summary, body);
  const ended = new Map();
  while (!signal.aborted) {
    await link.attempt(async () => {
      const [jobs, gateways] = await Promise.all([withStatus(await ask("api/jobs", { signal }), ended, signal),
        ask("api/gateways", { signal })]);
      if (signal.aborted) return;
      setChildren(server, JSON.stringify(gateways), () => [serverWords(gateways)]);
      setChildren(body, JSON.stringify(jobs), () => (jobs.length ? [table(jobs)] : [nothing()]));
      summarize(summary, jobs);
    });
    await link.pause(POLL_MS, signal);
  }
}

/** The jobs with their own accounts; those of ended jobs are asked for once. */
async function withStatus(jobs, ended, signal) {
  const asked = byUrgency(jobs).filter((job) => !job.status && !ended.has(job.job_id)).slice(0, ASKED_MAX);
  const known = new Map(ended);
  await Promise.all(asked.map(async ({ job_id: jobId }) => {
    const view = await ask(jobPath(jobId), { signal });
    known.set(jobId, view);
    if (hasEnded(view)) ended.set(jobId, view);
  }));
  return byUrgency(jobs.map((job) => known.get(job.job_id) ?? job));
}

const NEEDS_A_PERSON = ["bad", "warn"]; // Tones, the worst first.

/** How urgent a job is: 0 is most. */
function urgency(view) {
  if (hasEnded(view)) return NEEDS_A_PERSON.length + 1;
  const tone = NEEDS_A_PERSON.indexOf(stateOf(view).tone);
  return tone < 0 ? NEEDS_A_PERSON.length : tone;
}

/** What needs a person first, then what runs, then what has ended; the newest first. */
const byUrgency = (jobs) => [...jobs].sort((a, b) => urgency(a) - urgency(b)
  || (b.finished_at ?? b.submitted_at) - (a.finished_at ?? a.submitted_at));

/** How many jobs are in which state, at a glance; in the title of the page what needs a person. */
function summarize(element, jobs) {
  const states = new Map();
  for (const { text, tone } of jobs.map(stateOf)) states.set(text, { tone, many: (states.get(text)?.many ?? 0) + 1 });
  const found = [...states.entries()];
  setChildren(element, JSON.stringify(found), () => found.map(([text, { tone, many }]) => h("span", { class: `badge ${tone}` }, `${many} ${text}`)));
  const urgent = found.filter(([, { tone }]) => NEEDS_A_PERSON.includes(tone)).map(([text, { many }]) => `${many} ${text}`);
  document.title = `${urgent.join(", ") || "Jobs"} · turnout`;
}

function serverWords(gateways) {
  const connections = gateways.reduce((sum, gateway) => sum + (gateway.connections ?? 0), 0);
  const many = gateways.length === 1 ? "1 gateway" : `${gateways.length} gateways`;
  return `${many} · ${count(connections)} connections of devices`;
}

function nothing() {
  return h("div", { class: "card empty" },
    h("h2", {}, "No job yet"),
    h("p", {}, "A job trains one model. Drop the zip of a job folder here, or hand the folder in by command; then let simulated devices work on it:"),
    h("pre", {}, h("code", {}, "turnout submit FOLDER\nturnout fleet URL --job NAME --trainer FOLDER --devices 100")),
    h("p", {}, "It appears here by itself."));
}

function table(jobs) {
  const heads = [["Job"], ["State"], ["Version", "number"], ["Measured", "number"], ["Training", "number wide"],
    ["Updates", "number wide"], ["Submitted", "wide"]];
  return h("div", { class: "card scroll" },
    h("table", { class: "jobs" },
      h("caption", { class: "hidden" }, "All jobs, first those that need a person"),
      h("thead", {}, h("tr", {}, heads.map(([text, kind]) => h("th", { scope: "col", class: kind }, text)))),
      h("tbody", {}, jobs.map(row))));
}

/** What fails while the job runs, as the job says it. */
function trouble(status) {
  const words = status.evaluation_fails ? (status.warnings ?? []).at(-1) : "";
  return words ? [h("p", { class: "trouble" }, words)] : [];
}

function row(view) {
  const { text, tone } = stateOf(view);
  const status = view.status ?? {};
  const best = headline(status.metrics);
  const known = (value) => (view.status ? count(value ?? 0) : "–");
  return h("tr", {},
    h("th", { scope: "row" }, h("a", { href: `#/jobs/${encodeURIComponent(view.job_id)}` }, view.job_id),
      ...trouble(status),
      h("p", { class: "wait" }, subject(view) === "Waits for" ? `Waits for: ${waitingFor(view)}` : waitingFor(view))),
    h("td", {}, h("span", { class: `badge ${tone}` }, text)),
    h("td", { class: "number version" }, known(status.version)),
    h("td", { class: `number measured${best ? "" : " nothing"}` }, best ? [best.value, h("span", { class: "unit" }, `${best.name}, version ${status.metrics_version ?? 0}`)] : "–"),
    h("td", { class: "number wide" }, hasEnded(view) ? "–" : known(status.training)),
    h("td", { class: "number wide" }, known(status.counted)),
    h("td", { class: "wide" }, stamp(view.submitted_at)));
}
