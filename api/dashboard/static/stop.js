// The emergency stop: one gesture opens it, one more stops. A stop that nobody confirms is sent again until somebody
// does, always under the same id, which makes it one stop. What is not confirmed stands in the bar, whatever becomes of
// the dialog: opening, closing, or another stop ends no other one's retry.

import { command, newId, say, text } from "./base.js";
import { look } from "./live.js";

const AGAIN_MS = 1000;
const WITHIN_MS = 4000;
const SHOWN_EVERY_MS = 1000;
// Too slow, too early, too often: the same may be taken in a moment.
const NOT_YET = new Set([408, 425, 429]);
// The click that opened it must not be half of a double click that stops.
const ARMED_AFTER_MS = 250;

const dialog = document.getElementById("stop-dialog");
const bar = document.getElementById("pending");
let openedAt = 0;
/** Stops of this page that are not confirmed, by id: `what`, `kind` (sent, unconfirmed, partly, refused), `tries`. */
const pending = new Map();
/** The one that the dialog shows, '' while it offers the choice. */
let shownId = "";

const underWay = (each) => each.kind === "sent" || each.kind === "unconfirmed";
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function open() {
  shownId = "";
  dialog.querySelector("#stop-choice").hidden = false;
  dialog.querySelector("#stop-answer").hidden = true;
  const filter = dialog.querySelector("#stop-filter");
  if (filter) {
    filter.value = "";
    sift("");
  }
  openedAt = performance.now();
  dialog.showModal();
  dialog.querySelector(".stop-now")?.focus();
  renew();
}

function sift(words) {
  const wanted = words.trim().toLowerCase();
  for (const each of dialog.querySelectorAll("#stop-scopes li")) {
    each.hidden = wanted !== "" && !each.textContent.toLowerCase().includes(wanted);
  }
}

const key = (button) => `${button.dataset.scope} ${button.dataset.scopeId}`;

/** Offer what has come since the page was made: added at the end, so that nothing moves under a finger. */
async function renew() {
  const list = dialog.querySelector("#stop-scopes");
  try {
    const answer = await fetch(list.dataset.src, { headers: { "HX-Request": "true" }, signal: AbortSignal.timeout(WITHIN_MS) });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const known = new Set([...list.querySelectorAll(".stop-now")].map(key));
    for (const button of fresh.querySelectorAll(".stop-now")) {
      if (!known.has(key(button))) list.append(button.closest("li"));
    }
    sift(dialog.querySelector("#stop-filter")?.value ?? "");
  } catch {
    // What the page knew stands there; the banner tells of a lost connection.
  }
}

function words(each) {
  switch (each.kind) {
    case "sent":
      return text("stop_sent", { what: each.what });
    case "unconfirmed":
      return text("stop_unconfirmed", { what: each.what });
    case "partly":
      return text("stop_partly", { what: each.what }) + each.more;
    case "confirmed":
      return text("stop_confirmed", { what: each.what }) + each.more;
    default:
      return text("stop_refused", { what: each.what, why: each.why });
  }
}

/** Tell how a stop stands: in the dialog if it shows that one, and in the bar until it is confirmed. */
function tell(each) {
  if (each.kind === "confirmed" && !each.more) pending.delete(each.id);
  drawBar();
  if (each.kind === "confirmed" && (!dialog.open || each.id !== shownId)) say(words(each));
  if (each.id !== shownId) return;
  const state = dialog.querySelector("#stop-state");
  if (state.textContent !== words(each)) state.textContent = words(each);
  state.dataset.kind = each.kind === "sent" ? "sent" : each.kind === "confirmed" ? "good" : "bad";
  const tries = each.kind === "unconfirmed" ? text("stop_tries", { tries: each.tries, why: each.why }) : "";
  // Once it is set, `follow` shows there what became of it.
  if (each.kind !== "confirmed" && each.kind !== "partly") dialog.querySelector("#stop-shown").textContent = tries;
}

function drawBar() {
  for (const row of bar.querySelectorAll("[data-stop]")) {
    if (!pending.has(row.dataset.stop)) row.remove();
  }
  for (const each of pending.values()) {
    let row = bar.querySelector(`[data-stop="${each.id}"]`);
    if (!row) {
      row = document.createElement("p");
      row.dataset.stop = each.id;
      const told = document.createElement("strong");
      const tries = document.createElement("span");
      tries.className = "since";
      // Counts every second: not for a screen reader, which is told when the state changes.
      tries.setAttribute("aria-hidden", "true");
      row.append(told, " ", tries);
      bar.append(row);
    }
    row.dataset.kind = each.kind;
    const [told, tries] = row.children;
    if (told.textContent !== words(each)) told.textContent = words(each);
    tries.textContent = each.kind === "unconfirmed" ? text("stop_tries", { tries: each.tries, why: each.why }) : "";
    if (!underWay(each) && row.children.length < 3) {
      const seen = document.createElement("button");
      seen.type = "button";
      seen.textContent = text("seen");
      seen.addEventListener("click", () => {
        pending.delete(each.id);
        drawBar();
      });
      row.append(" ", seen);
    }
  }
  bar.hidden = pending.size === 0;
}

async function stop(button) {
  if (performance.now() - openedAt < ARMED_AFTER_MS) return;
  const wish = {
    stop_id: newId(),
    scope: button.dataset.scope,
    scope_id: button.dataset.scopeId,
    reason: dialog.querySelector("#stop-reason").value.trim() || text("stop_reason"),
  };
  const each = { id: wish.stop_id, what: button.dataset.name.trim(), kind: "sent", tries: 0, why: "", more: "" };
  pending.set(each.id, each);
  shownId = each.id;
  dialog.querySelector("#stop-choice").hidden = true;
  dialog.querySelector("#stop-answer").hidden = false;
  dialog.querySelector("#stop-shown").textContent = "";
  tell(each);
  while (underWay(each)) {
    each.tries += 1;
    await once(each, wish);
    tell(each);
    if (underWay(each)) await pause(AGAIN_MS);
  }
  look();
  if (each.kind !== "refused") await follow(each.id);
}

/** Send a stop once, and note what became of it. Whatever is not clearly a refusal is tried again. */
async function once(each, wish) {
  try {
    const answer = await command("/api/v1/emergency-stops", wish, WITHIN_MS);
    if (!Array.isArray(answer?.endpoints)) throw new Error(text("no_answer"));
    const all = answer.endpoints.length > 0 && answer.endpoints.every((one) => one.published);
    each.more = answer.durable ? "" : ` ${text("stop_not_durable")}`;
    each.kind = all ? "confirmed" : "partly";
  } catch (error) {
    each.why = error.message;
    // A refusal stays one; no answer, an API that cannot now, or an error of ours may become a stop.
    each.kind = error.status >= 400 && error.status < 500 && !NOT_YET.has(error.status) ? "refused" : "unconfirmed";
  }
}

/** Show what each endpoint and pump says of the stop while the dialog shows it. */
async function follow(id) {
  const shown = dialog.querySelector("#stop-shown");
  while (dialog.open && shownId === id) {
    try {
      const answer = await fetch(`/stops/${encodeURIComponent(id)}/shown`, {
        headers: { "HX-Request": "true", Accept: "text/html" },
        signal: AbortSignal.timeout(WITHIN_MS),
      });
      const page = answer.ok ? await answer.text() : "";
      // Made by our own templates, every value of which is escaped. The dialog may show another stop by now.
      if (page && shownId === id) shown.innerHTML = page;
    } catch {
      // The banner of the page tells of a lost connection.
    }
    await pause(SHOWN_EVERY_MS);
  }
}

/** Begin. */
export function start() {
  if (!dialog) return;
  document.getElementById("stop-button").addEventListener("click", open);
  dialog.querySelector("#stop-filter")?.addEventListener("input", (event) => sift(event.target.value));
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest(".stop-now");
    if (button) stop(button);
  });
  // Enter in the reason or the filter is no stop.
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.repeat) event.preventDefault();
  });
  // Whoever leaves the page ends its retries: the browser asks first.
  window.addEventListener("beforeunload", (event) => {
    if ([...pending.values()].some(underWay)) event.preventDefault();
  });
}
