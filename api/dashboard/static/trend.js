// Draws a station's day: the level, and each pump's plan against what was measured. Read anew every minute.

import { clock, sentence, text } from "./base.js";

const EVERY_MS = 60_000;
let drawn = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axes(unit, zone) {
  const line = { stroke: colour("--ink"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--grid") } };
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", timeZone: zone, hourCycle: "h23" });
  return [
    { ...line, values: (_, ticks) => ticks.map((each) => clock.format(new Date(each * 1000))) },
    { ...line, label: unit, labelSize: 20, size: 52 },
  ];
}

/** Mark what is still to come. */
function now(at) {
  return {
    hooks: {
      draw: (plot) => {
        const x = plot.valToPos(at, "x", true);
        plot.ctx.save();
        plot.ctx.strokeStyle = colour("--ink");
        plot.ctx.setLineDash([3, 3]);
        plot.ctx.beginPath();
        plot.ctx.moveTo(x, plot.bbox.top);
        plot.ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
        plot.ctx.stroke();
        plot.ctx.restore();
      },
    },
  };
}

/** Return the range of an axis: never so narrow that noise looks like news. */
function range(unit) {
  if (unit === "Hz") return (_, low, high) => [0, Math.max(50, high ?? 50)];
  return (_, low, high) => {
    const middle = ((low ?? 0) + (high ?? 0)) / 2;
    const half = Math.max(0.5, ((high ?? 0) - (low ?? 0)) * 0.6);
    return [middle - half, middle + half];
  };
}

function chart(place, title, unit, series, data, trend) {
  // A few measurements are points: a line needs neighbours.
  const few = data[0].filter((each) => each != null).length < 24;
  const shown = (_, value) => (value == null ? "–" : `${value.toFixed(2)} ${unit}`);
  const stamp = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "short", timeStyle: "short", timeZone: trend.zone });
  const plot = new window.uPlot(
    {
      title,
      width: place.clientWidth,
      height: 220,
      // Nothing here is dragged: a touch scrolls the page.
      cursor: { drag: { x: false, y: false } },
      scales: { x: { time: true }, y: { range: range(unit) } },
      series: [
        { label: text("time"), value: (_, at) => (at == null ? "–" : stamp.format(new Date(at * 1000))) },
        ...series.map((each, at) => ({
          spanGaps: false, points: { show: few && at === 0, size: 5 }, value: shown, ...each,
        })),
      ],
      axes: axes(unit, trend.zone),
      plugins: [now(trend.now)],
    },
    [trend.t, ...data],
    place,
  );
  drawn.push(plot);
}

function draw(place, trend) {
  for (const plot of drawn) plot.destroy();
  drawn = [];
  const only = place.dataset.pump;
  const pumps = trend.pumps.filter((each) => !only || each.pump_id === only);
  // All frames first: each drawing is as wide as its frame, which depends on how many there are.
  const frames = [null, ...pumps].map(() => document.createElement("div"));
  place.replaceChildren(...frames);
  chart(
    frames[0], text("level"), "m",
    [
      { label: text("measured"), stroke: colour("--trend-1"), width: 2 },
      { label: text("target"), stroke: colour("--ink"), width: 1, dash: [4, 4] },
    ],
    [trend.level, trend.target], trend,
  );
  for (const [at, pump] of pumps.entries()) {
    chart(
      frames[at + 1], pump.name, "Hz",
      [
        { label: text("measured"), stroke: colour("--trend-1"), width: 2 },
        { label: text("plan"), stroke: colour("--ink"), width: 1, dash: [4, 4] },
      ],
      [pump.actual, pump.plan], trend,
    );
  }
}

async function read(place, why) {
  try {
    const answer = await fetch(place.dataset.src, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(8000) });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.detail);
    place.dataset.at = String(told.now);
    place.trend = told;
    draw(place, told);
    place.removeAttribute("data-old");
    why.textContent = "";
  } catch (error) {
    // What was drawn stays, marked: an old day is better than none, and worse than a new one.
    place.toggleAttribute("data-old", Boolean(place.trend));
    const told = { why: error.message || text("no_answer") };
    if (place.trend) why.replaceChildren(...sentence("trend_old", { at: clock(new Date(place.trend.now * 1000)), ...told }));
    else why.textContent = text("trend_missing", told);
  }
}

/** Begin. */
export function start() {
  const place = document.getElementById("trend");
  if (!place) return;
  const why = document.getElementById("trend-why");
  const again = () => place.trend && draw(place, place.trend);
  read(place, why);
  setInterval(() => read(place, why), EVERY_MS);
  let waiting = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(again, 200);
  });
  document.addEventListener("calejo:theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}
