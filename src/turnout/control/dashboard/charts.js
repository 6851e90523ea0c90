// Draws with plotly, when it is there. Colours come from the style sheet; below each title stand the newest values,
// which are the legend and, without plotly, all there is.

import { h, setChildren, setText } from "./page.js";

const HEIGHT_PX = 190;
const TICK_PX = 46; // Room for one label of a horizontal axis.
const BAR_WIDTH = 0.75; // Of a bar that stands for one whole number, in such numbers.
const SECONDS_SHOWN_S = 300; // A shorter axis has its times with seconds.
const SCRIPT = "static/plotly.min.js";
let loading = null;

/** Plotly, or null when it is not installed. Loaded once, after the page stands: it is large. */
export function plotly() {
  loading ??= new Promise((resolve) => {
    const script = h("script", { src: SCRIPT });
    const allow = withoutInlineStyles();
    script.addEventListener("load", () => [allow(), resolve(window.Plotly ?? null)]);
    script.addEventListener("error", () => [allow(), resolve(null)]);
    document.head.append(script);
  });
  return loading;
}

/**
 * As it loads, plotly adds a style element for maps, which are not drawn here and which the page's policy would refuse
 * with an error. Until the function given back is called, such an element is one that means nothing.
 */
function withoutInlineStyles() {
  const create = document.createElement;
  document.createElement = (name, ...rest) => create.call(document, name === "style" ? "template" : name, ...rest);
  return () => (document.createElement = create);
}

/** A card with a title, the newest values, and a chart that is drawn only while it is seen. */
export class Chart {
  constructor(title, note = "", none = "Nothing yet.") {
    this.legend = h("ul", { class: "legend" });
    this.plot = h("div", { class: "plot", "aria-hidden": "true" });
    this.empty = h("p", { class: "none" }, none);
    const heading = h("h3", {}, title, note ? h("span", { class: "note" }, note) : null);
    this.element = h("figure", { class: "card chart" }, heading, this.legend, this.plot, this.empty);
    this.plot.hidden = true;
    this.seen = false;
    this.wanted = null;
    this.watcher = new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      this.draw();
    });
    this.watcher.observe(this.element);
  }

  /** What stands there while there is nothing to draw. */
  say(none) {
    setText(this.empty, none);
  }

  /** `lines`: {name, x, y, colour, dashed, value, fill}; `axes`: {x, xTitle, y, bars}. `value` is text for the legend. */
  show(lines, axes) {
    const filled = lines.filter((line) => line.y.some((value) => value !== null));
    this.empty.hidden = filled.length > 0;
    this.labels(filled);
    const known = filled.map(({ name, x, y }) => [name, x.length, x[0], x.at(-1), y.at(-1), y.reduce((sum, value) => sum + value, 0)]);
    const key = JSON.stringify([known, axes, getComputedStyle(document.documentElement).colorScheme]);
    if (key === this.key) return;
    this.key = key;
    this.wanted = { lines: filled, axes };
    this.draw();
  }

  labels(lines) {
    const key = lines.map((line) => `${line.name} ${line.colour} ${line.dashed}`).join("|");
    setChildren(this.legend, key, () =>
      lines.map((line) =>
        h("li", { class: `series ${line.colour}${line.dashed ? " dashed" : ""}` },
          h("span", { class: "name" }, line.name), h("span", { class: "value" }))));
    lines.forEach((line, i) => setText(this.legend.children[i].lastChild, line.value ?? ""));
  }

  async draw() {
    if (!this.seen || !this.wanted) return;
    const Plotly = await plotly();
    if (!Plotly || !this.wanted) return;
    const { lines, axes } = this.wanted;
    this.wanted = null;
    this.plot.hidden = lines.length === 0;
    if (lines.length === 0) return;
    const ticks = Math.max(3, Math.min(7, Math.floor(this.plot.clientWidth / TICK_PX)));
    const look = colours();
    const config = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };
    await Plotly.react(this.plot, lines.map((line) => trace(line, axes, look)), layout(axes, look, ticks, lines), config);
  }

  close() {
    this.watcher.disconnect();
    window.Plotly?.purge(this.plot);
  }
}

function trace(line, axes, look) {
  const colour = look[line.colour];
  const common = { name: line.name, x: axes.date ? line.x.map(local) : line.x, y: line.y, hovertemplate: axes.hover };
  if (axes.bars) return { ...common, type: "bar", marker: { color: colour }, width: axes.whole ? BAR_WIDTH : undefined };
  const points = line.y.length;
  return {
    ...common,
    type: "scatter",
    mode: points < 12 && !axes.date ? "lines+markers" : "lines",
    line: { color: colour, width: 1.75, dash: line.dashed ? "dot" : "solid", shape: axes.steps ? "hv" : "linear" },
    marker: { size: 5 },
    connectgaps: false,
  };
}

/** A step between the ticks of an axis of whole numbers: 1, 2 or 5 times a power of ten, never less than one. */
export function wholeStep(lines, ticks) {
  const ends = lines.flatMap((line) => line.x);
  const least = Math.max(1, (Math.max(...ends) - Math.min(...ends)) / ticks);
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= least);
}

function layout(axes, look, ticks, lines) {
  const short = axes.date && axes.range[1] - axes.range[0] < SECONDS_SHOWN_S;
  const axis = {
    fixedrange: true,
    gridcolor: look.line,
    linecolor: look.line,
    zeroline: false,
    automargin: true,
    tickfont: { size: 11, color: look.muted },
    title: { font: { size: 11, color: look.muted }, standoff: 8 },
  };
  return {
    height: HEIGHT_PX,
    margin: { l: 44, r: 10, t: 8, b: 28, pad: 2 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: look.font, size: 12, color: look.text },
    showlegend: false,
    dragmode: false,
    bargap: 0.25,
    hovermode: axes.bars ? "closest" : "x unified",
    hoverlabel: { bgcolor: look.card, bordercolor: look.line, font: { size: 12, color: look.text } },
    xaxis: {
      ...axis,
      type: axes.date ? "date" : "linear",
      title: { ...axis.title, text: axes.xTitle ?? "" },
      showgrid: false,
      nticks: short ? Math.ceil(ticks / 2) : ticks,
      ...(axes.date ? { tickformat: short ? "%H:%M:%S" : "%H:%M", hoverformat: "%H:%M:%S", range: axes.range?.map(local) } : {}),
      ...(axes.whole ? { tickformat: ",d", dtick: axes.dtick ?? wholeStep(lines, ticks) } : {}),
    },
    yaxis: { ...axis, rangemode: axes.fromZero === false ? "normal" : "tozero", nticks: 5, separatethousands: true, ticksuffix: axes.unit ?? "" },
    datarevision: performance.now(),
  };
}

/** Plotly shows times as they are in UTC; people read those of their own clock. */
function local(at) {
  const then = new Date(at * 1000);
  return at * 1000 - then.getTimezoneOffset() * 60_000;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["text", "muted", "line", "card", "blue", "orange", "green", "red", "purple", "grey"];
  const look = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return { ...look, font: style.getPropertyValue("--font").trim() };
}
