// The means to build a page: elements, text that changes, dialogs, numbers and times for people.

/** An element. Properties beginning with "on" are listeners; text is always text, never markup. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set text only when it differs, so that a selection or a screen reader is not disturbed. */
export function setText(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Replace the children only when `key` differs from the last time. */
export function setChildren(element, key, make) {
  if (element.shownKey === key) return;
  element.shownKey = key;
  element.replaceChildren(...make());
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const digits3 = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const count = (number) => (number === null || number === undefined ? "–" : whole.format(number));

/** Three significant digits; whole from 100 on. */
export function short(number) {
  if (number === null || number === undefined || !Number.isFinite(number)) return "–";
  return Math.abs(number) >= 100 ? whole.format(number) : digits3.format(number);
}

/** A measured value with as many digits everywhere, so that columns align. */
export function metric(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1000 || (value !== 0 && Math.abs(value) < 0.001) ? value.toExponential(2) : value.toFixed(4);
}

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = number < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(number) / 3));
  return `${short(number / 1000 ** step)} ${units[step]}`;
}

export const milliseconds = (number) => (number === null || number === undefined ? "–" : `${short(number)} ms`);

/** A length of time in its two largest units. */
export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** The time of day, with the day unless it is today's. */
export function clock(at) {
  const then = new Date(at * 1000);
  const today = new Date().toDateString() === then.toDateString();
  return today ? time.format(then) : `${day.format(then)} ${time.format(then)}`;
}

export const stamp = (at, properties = {}) =>
  h("time", { ...properties, datetime: new Date(at * 1000).toISOString() }, clock(at));

/** Ask for a yes; true when it is given. The harmless answer has the focus. */
export function confirm({ title, text, yes, no = "Keep it" }) {
  return new Promise((resolve) => {
    const cancel = h("button", { type: "button", autofocus: true, onclick: () => dialog.close("") }, no);
    const go = h("button", { type: "button", class: "danger", onclick: () => dialog.close("yes") }, yes);
    const dialog = show(title, [h("p", {}, text)], [cancel, go]);
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Show a dialog with these contents and buttons. Escape closes it, and the focus goes back to where it was. */
export function show(title, body, buttons) {
  const dialog = document.getElementById("dialog");
  dialog.returnValue = "";
  dialog.replaceChildren(h("h2", { id: "dialog-title" }, title), ...body, h("div", { class: "buttons" }, buttons));
  if (!dialog.open) dialog.showModal();
  return dialog;
}
