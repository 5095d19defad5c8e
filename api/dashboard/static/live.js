// Keeps a view live: looks again at least every two seconds, at once when the stream tells of a change, and says
// unmistakably when it cannot. What counts as connected is a view that came, whole, not a stream that seems open.

import { clock, sentence, text, viewedAt } from "./base.js";

const LOOK_EVERY_MS = 1000;
const SLOW_EVERY_MS = 5000;
const LOOK_AT_MOST_EVERY_MS = 250;
const LOST_AFTER_MS = 3500;
// What is read from a database may lack one answer; two, or three looks' time without any, and it is old.
const SLOW_FAILURES_MAX = 1;
const SLOW_OLD_AFTER_MS = 3 * SLOW_EVERY_MS;
// What changes each second is looked at each second anyway: the stream tells of the rest.
const STREAM = "/api/v1/stream?topics=stops,alarms,modes,failsafes,tree";
const STREAM_AGAIN_MS = 1000;
const STREAM_AGAIN_MS_MAX = 30_000;
const TOPICS = ["snapshot", "gap", "stops", "alarms", "modes", "failsafes", "tree", "unavailable"];

const live = document.getElementById("live");
const slow = document.getElementById("slow");
const slowOld = document.getElementById("slow-old");
const link = document.getElementById("link");
const watches = Boolean(live?.hasAttribute("hx-get"));
let goodAt = performance.now();
let askedAt = -Infinity;
let slowAt = performance.now();
let slowGoodAt = performance.now();
let slowGoodClock = viewedAt();
let slowFailures = 0;
let slowWhy = "";
let underWay = false;
let ended = "";
let touchedAt = -Infinity;
let wanted = false;

/** Look again now, or as soon as that may be; `all`: also at what is read from a database. */
export function look(all = false) {
  if (!watches || ended) return;
  if (slow && (all || performance.now() - slowAt >= SLOW_EVERY_MS)) {
    slowAt = performance.now();
    window.htmx.trigger(slow, "calejo:slow");
  }
  const now = performance.now();
  if (underWay || now - askedAt < LOOK_AT_MOST_EVERY_MS) {
    wanted = true;
    return;
  }
  wanted = false;
  underWay = true;
  askedAt = now;
  window.htmx.trigger(live, "calejo:refresh");
}

function show() {
  const lost = performance.now() - goodAt > LOST_AFTER_MS;
  const state = ended ? "ended" : lost ? "lost" : "live";
  if (document.body.dataset.link !== state) {
    document.body.dataset.link = state;
    link.hidden = state === "live";
    link.textContent = "";
    if (state !== "live") {
      const words = document.createElement("strong");
      words.append(...(state === "lost" ? sentence("lost", { at: clock(viewedAt()) }) : [text("ended", { why: ended })]));
      link.append(words);
      const since = document.createElement("span");
      since.className = "since";
      // Counts every second: not for a screen reader, which has been told once.
      since.setAttribute("aria-hidden", "true");
      link.append(" ", since);
      if (state === "ended") {
        const login = document.createElement("a");
        login.href = `/login?following=${encodeURIComponent(location.pathname + location.search)}`;
        login.textContent = text("login");
        link.append(" ", login);
      }
    }
    document.title = document.title.replace(/^⚠ /, "");
    if (state !== "live") document.title = `⚠ ${document.title}`;
  }
  const since = link.querySelector(".since");
  if (since) since.textContent = text("since", { s: Math.round((performance.now() - goodAt) / 1000) });
}

/** Say in words when the part that comes from a database is old, while the rest of the view is not. */
function showSlow() {
  if (!slow) return;
  const old = slowFailures > SLOW_FAILURES_MAX || performance.now() - slowGoodAt > SLOW_OLD_AFTER_MS;
  if (old === slow.hasAttribute("data-old") && slowOld.dataset.why === slowWhy) return;
  slow.toggleAttribute("data-old", old);
  slowOld.dataset.why = slowWhy;
  slowOld.hidden = !old;
  slowOld.replaceChildren(...(old ? sentence("slow_old", { at: clock(slowGoodClock), why: slowWhy || text("no_answer") }) : []));
}

function slowAnswered(detail) {
  if (detail.successful) {
    slowGoodAt = performance.now();
    slowGoodClock = viewedAt();
    slowFailures = 0;
    slowWhy = "";
  } else {
    const status = detail.xhr?.status ?? 0;
    // A right that is gone does not come back by asking again.
    slowFailures += status === 401 || status === 403 ? SLOW_FAILURES_MAX + 1 : 1;
    slowWhy = status ? text("refused", { status }) : "";
  }
  showSlow();
}

function beat() {
  if (!watches) return;
  const now = performance.now();
  if (!underWay && (wanted || now - askedAt >= LOOK_EVERY_MS)) look();
  show();
  showSlow();
}

function answered(event) {
  if (slow && event.detail.elt === slow) slowAnswered(event.detail);
  if (event.detail.elt !== live) return;
  underWay = false;
  const status = event.detail.xhr?.status ?? 0;
  if (event.detail.successful) {
    goodAt = performance.now();
  } else if (status === 401 || status === 403) {
    ended = text("ended_why");
    stopStream();
  }
  show();
}

// ---------------------------------------------------------------- the stream: one for all windows of a browser

let source = null;
let again = 0;
let pause = STREAM_AGAIN_MS;
let leads = false;
const others = "BroadcastChannel" in window ? new BroadcastChannel("calejo-news") : null;

function news(topic) {
  // Processes come and go where nobody looks at them.
  if (topic !== "tree" || document.getElementById("tree")) look();
}

function openStream() {
  leads = true;
  if (ended) return;
  source = new EventSource(STREAM);
  source.addEventListener("open", () => {
    pause = STREAM_AGAIN_MS;
  });
  for (const topic of TOPICS) {
    source.addEventListener(topic, () => {
      news(topic);
      others?.postMessage(topic);
    });
  }
  // Closed for good by the browser, or ended by the server: come back a little later.
  source.addEventListener("error", () => {
    if (source?.readyState === EventSource.CLOSED) comeBack();
  });
  for (const last of ["overrun", "ended"]) source.addEventListener(last, comeBack);
}

function comeBack() {
  stopStream();
  again = setTimeout(openStream, pause);
  // Refused again and again: the views go on by looking.
  pause = Math.min(pause * 2, STREAM_AGAIN_MS_MAX);
}

function stopStream() {
  clearTimeout(again);
  source?.close();
  source = null;
}

/** Somebody comes back to a window whose session was over: perhaps they have logged in again in another one. */
async function goOn() {
  if (!ended) return;
  try {
    const answer = await fetch("/strip", { headers: { "HX-Request": "true" }, signal: AbortSignal.timeout(4000) });
    if (!answer.ok) return;
  } catch {
    return;
  }
  ended = "";
  if (leads) openStream();
  look(true);
}

/** Begin. A browser has six connections to a server: of many windows one keeps the stream, and tells the others. */
export function start() {
  if (!watches) return;
  const touch = () => {
    touchedAt = performance.now();
  };
  for (const kind of ["pointerdown", "keydown", "wheel", "touchstart"]) {
    window.addEventListener(kind, touch, { passive: true, capture: true });
  }
  document.body.addEventListener("htmx:configRequest", (event) => {
    if (performance.now() - touchedAt < 60_000) event.detail.headers["Calejo-Active"] = "1";
  });
  document.body.addEventListener("htmx:afterRequest", answered);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look();
  });
  window.addEventListener("focus", goOn);
  window.addEventListener("online", () => look());
  // What somebody has opened stays open, whatever the server draws.
  window.Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element, how) =>
    !(how === "remove" && name === "open" && element.tagName === "DETAILS");
  setInterval(beat, 250);
  others?.addEventListener("message", (event) => news(event.data));
  if (navigator.locks) {
    navigator.locks.request("calejo-stream", () => {
      openStream();
      return new Promise(() => {});
    });
  } else {
    openStream();
  }
}
