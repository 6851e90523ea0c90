// What is shown of a job, in words.

import { duration, metric } from "./page.js";

const ENDED = new Set(["completed", "cancelled", "failed"]);

export const hasEnded = (view) => ENDED.has(view.state);

/** The state as a person would say it, and the tone of its badge; what fails while it trains is part of it. */
export function stateOf(view) {
  const state = stateAlone(view);
  if (!view.status?.evaluation_fails || !["completed", "running"].includes(view.state)) return state;
  const words = view.state === "completed" ? "evaluation failed" : "evaluation fails";
  return { text: `${state.text}, ${words}`, tone: state.tone === "bad" ? "bad" : "warn" };
}

function stateAlone(view) {
  if (view.state === "completed") return { text: "completed", tone: "good" };
  if (view.state === "cancelled") return { text: "cancelled", tone: "quiet" };
  if (view.state === "failed") return { text: "failed", tone: "bad" };
  if (view.state === "cancelling") return { text: "cancelling", tone: "warn" };
  if (view.status && view.fresh) return idle(view.status) ? { text: "waits for devices", tone: "quiet" } : ownState(view.status);
  return view.status || view.reason ? { text: "does not answer", tone: "bad" } : { text: "starting", tone: "quiet" };
}

/** A job that a person paused waits as it was told to; one that paused itself needs a person. */
const PAUSED = { person: { text: "paused by a person", tone: "quiet" }, rounds: { text: "paused below quorum", tone: "warn" },
  divergence: { text: "paused after divergence", tone: "warn" } };

const ownState = ({ state, ...status }) => ({ OPEN: { text: "training", tone: "live" }, COMMITTING: { text: "training", tone: "live" },
  PAUSED: PAUSED[status.paused_by] ?? { text: "paused", tone: "warn" }, FULL: { text: "disk full", tone: "bad" }, RECOVER: { text: "starting", tone: "quiet" },
  ENDING: { text: "ending", tone: "quiet" }, ENDED: { text: "ending", tone: "quiet" } })[state] ?? { text: state.toLowerCase(), tone: "quiet" };

/** Whether a job would train if devices came. */
const idle = (status) => status.state === "OPEN" && !status.training;

/** Whether a job could give out tasks and no device has ever asked for one. */
export function nobodyYet(view) {
  const status = view.status;
  return !hasEnded(view) && status?.state === "OPEN" && !status.training && !status.counted && !(status.fleet ?? []).length;
}

/** What the words of `waitingFor` are about. */
export function subject(view) {
  if (hasEnded(view)) return "Why it ended";
  if (view.reason || (view.status && !view.fresh)) return "What is wrong";
  return "Waits for";
}

/** What it waits for, or why it waits no more. */
export function waitingFor(view) {
  const status = view.status;
  if (hasEnded(view)) return view.reason || status?.finished || "It has ended.";
  if (view.state === "cancelling") return "It was cancelled: results of tasks that are out are still counted, then it ends.";
  if (view.reason) return view.reason;
  if (!status) return "Its process to answer, which has just been started.";
  const words = status.waiting_for || "It has not said yet.";
  return view.fresh ? words : `Its process does not answer. If it has died or hangs it is started again. It said last: ${words}`;
}

/** Whether a warning gives the reason that `words` already give; the numbers in it may have changed since. */
export function repeats(warning, words) {
  const plain = (text) => text.replace(/[0-9][0-9.,]*/g, "0");
  return plain(words).includes(plain(warning.slice(warning.indexOf(": ") + 1).trim()));
}

/** Whether a job may be started as it is: of one whose journal is lost, the reason says how to restore it. */
export const canStart = (view) => ["failed", "cancelled"].includes(view.state) && !(view.reason ?? "").includes("turnout restore ");

/** The first metric that was measured, as "accuracy 0.9512". */
export function headline(metrics) {
  const [name, value] = Object.entries(metrics ?? {})[0] ?? [];
  return name ? { name, value: metric(value) } : null;
}

const measured = (metrics) =>
  Object.entries(metrics ?? {}).map(([name, value]) => `${name} ${metric(value)}`).join(", ");

const STATES = { OPEN: "Training.", PAUSED: "Paused.", FULL: "The disk is full: no result is acknowledged.", RECOVER: "Starting.",
  ENDING: "Ending: what was counted goes into a last version.", ENDED: "It has ended." };
STATES.CLOSING = STATES.ENDING; // In events of jobs that 0.1 ran.
STATES.CLOSED = STATES.ENDED;

/** One event as a sentence, and the group that it is shown in. `metrics` is what was measured of a published version. */
export function sentence(event, metrics) {
  const version = event.version ?? 0;
  switch (event.kind) {
    case "started":
      return { group: "other", text: `Its process started at version ${version}${event.text ? `: ${event.text}` : "."}` };
    case "published": {
      const took = event.took_s ? ` after ${duration(event.took_s)}` : "";
      const found = metrics ? `: ${measured(metrics)}` : "";
      return { group: "versions", text: `Version ${version}${took}${found}.` };
    }
    case "evaluated":
      return { group: "versions", text: `Version ${version} measured: ${measured(event.metrics)}.` };
    case "evaluation_failed":
      return { group: "warnings", text: `Evaluation fails since version ${version}: ${event.text}` };
    case "warning":
      return { group: "warnings", text: event.text };
    case "state":
      return { group: "other", text: STATES[event.text] ?? `State: ${event.text}` };
    case "finished":
      return { group: "other", text: `Finished: ${event.text}` };
    case "failed":
      return { group: "warnings", text: `Failed: ${event.text}` };
    default:
      return { group: "other", text: `${event.kind} ${event.text ?? ""}` };
  }
}

/** Results that a round did not need: more devices are asked than it takes, so these are no sign of anything wrong. */
export const isSpare = (name, workflow) => workflow === "rounds" && name === "too_stale";

/** A reason of refusal, as the server counts it, in words. */
export const reason = (name) => name.replaceAll("_", " ");
