// Talks to the control API: requests, the stream of a job, files. Errors say whose they are.

const ANSWER_MS_MAX = 10_000; // A request without an answer for this long: control is away.
const SILENCE_MS_MAX = 20_000; // A stream that says nothing for this long is opened anew; samples come every second.
const SESSION = "turnout-session"; // Where the page keeps its half of the session; the other half is a cookie.

/** The server answered, and refused. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Nobody answered. */
export class Away extends Error {}

/** Begin a session: with the code of a link, or with a token, which is not kept. */
export async function begin({ code = "", token = "" }) {
  const headers = token ? { Authorization: `Bearer ${token.trim()}` } : {};
  const options = { method: "POST", headers, body: JSON.stringify(code ? { code } : {}) };
  const session = await (await request("api/session", options)).json();
  localStorage.setItem(SESSION, session.page);
}

/** End the session, at the server too. One that is over there already is over here as well. */
export async function end() {
  try {
    await request("api/session", { method: "DELETE" });
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  localStorage.removeItem(SESSION);
}

/** Whether this browser has had a session; it may be over. */
export const known = () => Boolean(localStorage.getItem(SESSION));

const half = () => (known() ? { "X-Turnout-Session": localStorage.getItem(SESSION) } : {});

export const jobPath = (jobId, rest = "") => `api/jobs/${encodeURIComponent(jobId)}${rest}`;

/** The JSON that `path` answers with; null when it has no body. */
export async function ask(path, { method = "GET", signal } = {}) {
  const response = await request(path, { method, signal: either(signal, AbortSignal.timeout(ANSWER_MS_MAX)) }, signal);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export async function askText(path, signal) {
  return (await request(path, { signal: either(signal, AbortSignal.timeout(ANSWER_MS_MAX)) }, signal)).text();
}

/** Whether the server serves, check by check; null when nobody says so. */
export async function checks(signal) {
  try {
    return (await ask("api/health", { signal })).checks;
  } catch {
    return null;
  }
}

/** Send a file; the JSON that comes back. `told` hears which share is sent, which fetch cannot say. */
export function upload(path, file, type, told, signal) {
  const sending = new XMLHttpRequest();
  sending.open("POST", path);
  sending.setRequestHeader("Content-Type", type);
  for (const [name, value] of Object.entries(half())) sending.setRequestHeader(name, value);
  sending.upload.addEventListener("progress", (event) => told(event.loaded / (event.total || 1)));
  signal.addEventListener("abort", () => sending.abort(), { once: true });
  return new Promise((resolve, reject) => {
    sending.addEventListener("load", () => (sending.status < 400
      ? resolve(JSON.parse(sending.responseText))
      : reject(new Problem(sending.status, detail(sending.responseText, sending.statusText)))));
    sending.addEventListener("error", () => reject(new Away("nobody answers; try again when control is back")));
    sending.addEventListener("abort", () => reject(new Away("it was broken off")));
    sending.send(file);
  });
}

/** Save what `path` answers with. The browser cannot fetch it by itself: a link sends no header. */
export async function download(path, filename) {
  const link = document.createElement("a");
  link.download = filename;
  link.href = URL.createObjectURL(await (await request(path, {})).blob());
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Server-sent events as {id, kind, data}. By fetch, because EventSource sends no header of ours. */
export async function* listen(path, lastId, signal) {
  const silence = new AbortController();
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS_MAX);
  };
  heard();
  const headers = lastId ? { "Last-Event-ID": lastId } : {};
  try {
    const response = await request(path, { headers, signal: either(signal, silence.signal) }, signal);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const message = parse(block);
        if (message) yield message;
      }
    }
  } catch (error) {
    throw signal.aborted || error instanceof Problem ? error : new Away("the stream was interrupted");
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

function parse(block) {
  const message = { id: "", kind: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (field === "id") message.id = value;
    if (field === "event") message.kind = value;
    if (field === "data") message.data += value;
  }
  if (message.data) message.data = JSON.parse(message.data);
  return message.data || message.kind === "end" ? message : null;
}

async function request(path, options, leaving) {
  const headers = { ...half(), ...options.headers };
  if (options.method && options.method !== "GET") headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    throw leaving?.aborted ? error : new Away("nobody answers");
  }
  if (!response.ok) throw new Problem(response.status, detail(await response.text(), response.statusText));
  return response;
}

function detail(text, status) {
  try {
    const problem = JSON.parse(text);
    return problem.detail ?? problem.title ?? text;
  } catch {
    return text || status;
  }
}

const either = (...signals) => AbortSignal.any(signals.filter(Boolean));
