// The emergency stop: one gesture opens it, one more stops. A stop that nobody confirms is sent again until somebody
// does, always under the same id, which makes it one stop.

import { Refused, command, newId, text } from "./base.js";
import { look } from "./live.js";

const AGAIN_MS = 1000;
const WITHIN_MS = 4000;
const SHOWN_EVERY_MS = 1000;
// The click that opened it must not be half of a double click that stops.
const ARMED_AFTER_MS = 250;

const dialog = document.getElementById("stop-dialog");
let openedAt = 0;
let run = 0;

function open() {
  run += 1;
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
}

function sift(words) {
  const wanted = words.trim().toLowerCase();
  for (const each of dialog.querySelectorAll("#stop-scopes li")) {
    each.hidden = wanted !== "" && !each.textContent.toLowerCase().includes(wanted);
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function tell(words, kind) {
  const state = dialog.querySelector("#stop-state");
  if (state.textContent !== words) state.textContent = words;
  state.dataset.kind = kind;
}

async function stop(button) {
  if (performance.now() - openedAt < ARMED_AFTER_MS) return;
  const mine = ++run;
  const wish = {
    stop_id: newId(),
    scope: button.dataset.scope,
    scope_id: button.dataset.scopeId,
    reason: dialog.querySelector("#stop-reason").value.trim() || text("stop_reason"),
  };
  const what = button.dataset.name.trim();
  dialog.querySelector("#stop-choice").hidden = true;
  dialog.querySelector("#stop-answer").hidden = false;
  dialog.querySelector("#stop-shown").textContent = "";
  tell(text("stop_sent", { what }), "sent");
  for (let tries = 1; ; tries += 1) {
    try {
      const answer = await command("/api/v1/emergency-stops", wish, WITHIN_MS);
      const all = answer.endpoints.length > 0 && answer.endpoints.every((each) => each.published);
      const durable = answer.durable ? "" : ` ${text("stop_not_durable")}`;
      tell((all ? text("stop_confirmed", { what }) : text("stop_partly", { what })) + durable, all ? "good" : "bad");
      break;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // A refusal stays one; no answer, or an API that cannot now, may become one.
      if (error.status >= 400 && error.status < 500 && error.status !== 429) {
        tell(text("stop_refused", { why: error.message }), "bad");
        return;
      }
      tell(text("stop_unconfirmed", { what }), "bad");
      dialog.querySelector("#stop-shown").textContent = text("stop_tries", { tries, why: error.message });
    }
    await pause(AGAIN_MS);
    if (run !== mine && !dialog.open) return;
  }
  look();
  await follow(wish.stop_id, mine);
}

/** Show what each endpoint and pump says of the stop while the dialog is open. */
async function follow(id, mine) {
  const shown = dialog.querySelector("#stop-shown");
  while (dialog.open && run === mine) {
    try {
      const answer = await fetch(`/stops/${encodeURIComponent(id)}/shown`, {
        headers: { "HX-Request": "true", Accept: "text/html" },
        signal: AbortSignal.timeout(WITHIN_MS),
      });
      // Made by our own templates, every value of which is escaped.
      if (answer.ok) shown.innerHTML = await answer.text();
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
}
