// The page: which view the address names, whether control answers, and the theme.

import { Away, Problem, begin, checks, end, known } from "./api.js";
import { jobPage } from "./job.js";
import { listPage } from "./list.js";
import { clock, h, setText, show } from "./page.js";

const RETRY_MS = [1000, 2000, 4000, 8000];
const TOO_MANY = 429;
const SERVER_ERRORS = 500; // From here on: another time it may work.
const CHECKED_MS = 4000;
const TROUBLES = { // Of control's checks of what is around it, those that no job's page shows.
  gateway: "No gateway reports, so no device gets an answer. The supervisor starts gateways again; what turnout up printed says why they fail.",
  supervisor: "The supervisor does not answer, so no job is started, nor started again. Restart turnout up.",
};
const THEME = "turnout-theme";
const main = document.getElementById("main");

/** Whether control answers: says so at the top, and waits longer each time it does not. */
class Link {
  constructor() {
    this.failures = 0;
    this.heardAt = 0;
    this.trouble = "";
    this.shows = false; // whether the page has anything of control's that could be live
  }

  /** Ask now and then whether the server around control serves; what twice did not is said at the top. */
  async watch() {
    for (let before = null; ;) {
      const found = linkCode() ? null : await checks(); // not before this browser is signed in
      const troubled = Object.entries(TROUBLES).filter(([name]) => found?.[name] === false && before?.[name] === false);
      this.trouble = troubled.map(([, text]) => text).join(" ");
      before = found; // a control that has just been started has not heard from gateways yet
      if (found && !this.failures) this.heard();
      await new Promise((resolve) => setTimeout(resolve, CHECKED_MS));
    }
  }

  /** Do something that asks control; what it gives, or undefined when nobody answers. Other errors pass. */
  async attempt(work) {
    try {
      const result = await work();
      this.shows = true;
      this.heard();
      return result;
    } catch (error) {
      if (error instanceof Away) this.lost("Control does not answer; devices and jobs work without it.");
      else if (error.status === TOO_MANY || error.status >= SERVER_ERRORS) this.lost(`Control says: ${error.message}.`);
      else {
        this.heard();
        throw error;
      }
      return undefined;
    }
  }

  heard() {
    this.failures = 0;
    this.heardAt = Date.now() / 1000;
    this.say(this.shows ? "live" : "", this.shows ? "live" : "", this.trouble);
  }

  /** There is nothing to show, though control answers. */
  nothing() {
    this.shows = false;
    this.heard();
  }

  lost(why) {
    this.failures += 1;
    const since = this.heardAt ? ` What you see is from ${clock(this.heardAt)}.` : "";
    this.say("away", "away", `${why} Trying again.${since}`);
  }

  /** Wait before the next attempt: `ms` when all is well, else longer and longer. */
  pause(ms, signal) {
    const wait = this.failures ? RETRY_MS[Math.min(this.failures, RETRY_MS.length) - 1] : ms;
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      signal.addEventListener("abort", () => [clearTimeout(timer), resolve()], { once: true });
    });
  }

  say(kind, word, text) {
    const connection = document.getElementById("connection");
    if (connection.className !== `connection ${kind}`) window.dispatchEvent(new Event("linkchange"));
    connection.className = `connection ${kind}`;
    setText(connection, word);
    const banner = document.getElementById("banner");
    setText(banner, text);
    banner.hidden = !text;
  }
}

const link = new Link();
let leave = new AbortController();

async function go(first = false) {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const [, jobId] = /^\/jobs\/([^/]+)$/.exec(path) ?? [];
  try {
    if (linkCode()) await enter();
    signOut.hidden = !known();
    const page = jobId
      ? jobPage(main, link, signal, decodeURIComponent(jobId), new URLSearchParams(query ?? ""))
      : listPage(main, link, signal);
    if (!first) main.querySelector("h1")?.focus();
    await page;
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof Problem) link.nothing();
    explain(error, jobId);
  }
}

function explain(error, jobId) {
  if (error instanceof Problem && error.status === 401) return signIn(error.message);
  const gone = error instanceof Problem && error.status === 404 && jobId;
  const title = gone ? "No such job" : "That did not work";
  const text = gone ? `There is no job ${decodeURIComponent(jobId)} here; it may have been deleted.` : error.message;
  document.title = `${title} · turnout`;
  main.replaceChildren(h("div", { class: "card empty" }, h("h1", { tabindex: "-1" }, title), h("p", {}, text),
    h("p", {}, h("a", { href: "#/" }, "See all jobs"))));
  if (!(error instanceof Problem)) console.error(error);
  return undefined;
}

/** Ask how to sign in, and begin the page anew once that is done. `why` is what the server said. */
function signIn(why) {
  const field = h("input", { type: "password", id: "token", autocomplete: "off", autofocus: true });
  const said = h("p", { class: "wrong", role: "alert" });
  const use = async (event) => {
    event.preventDefault();
    try {
      await begin({ token: field.value });
      dialog.close();
      go();
    } catch (error) {
      said.textContent = error.message;
    }
  };
  const how = ["On the machine of the server, ", h("code", {}, "turnout open"), " prints a link that signs this browser in. Or give a token."];
  const form = h("form", { id: "token-form", onsubmit: use }, h("label", { class: "field", for: "token" }, "Token", field));
  const over = known() ? h("p", {}, `${why}.`) : null;
  const dialog = show("Sign in", [...(over ? [over] : []), h("p", {}, ...how), form, said,
    h("p", { class: "note" }, "For twelve hours. The token is not kept.")],
  [h("button", { type: "submit", form: "token-form", class: "primary" }, "Sign in")]);
}

/** The code of a link of `turnout open`, when the address has one. */
const linkCode = () => /^#\/login\/([^/?]+)$/.exec(location.hash)?.[1];

/** Open such a link. Then its code goes out of the address: it is not a page to come back to. */
async function enter() {
  try {
    await begin({ code: linkCode() });
  } finally {
    history.replaceState(null, "", "#/");
  }
}

const signOut = document.getElementById("sign-out");
signOut.addEventListener("click", async () => {
  try {
    await end();
  } catch (error) {
    return link.lost(`You are still signed in: ${error.message}.`);
  }
  return go(); // which asks for a token
});

function theme() {
  const choice = document.getElementById("theme");
  const apply = () => {
    document.documentElement.dataset.theme = choice.value;
    window.dispatchEvent(new Event("themechange"));
  };
  choice.value = localStorage.getItem(THEME) ?? "auto";
  apply();
  choice.addEventListener("change", () => {
    localStorage.setItem(THEME, choice.value);
    apply();
  });
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", apply);
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => go());
theme();
link.watch();
go(true);
