// What the process tree was seen to do while this page watched: deaths, returns, and how long they took from here.

import { clock, text, viewedAt } from "./base.js";

const KEPT = 50;
const known = new Map();
const gone = new Map();

function note(list, words, kind) {
  if (list.dataset.begun !== "yes") {
    list.textContent = "";
    list.dataset.begun = "yes";
  }
  const line = document.createElement("li");
  line.dataset.kind = kind;
  line.append(clock(viewedAt()), ` ${words}`);
  list.prepend(line);
  while (list.children.length > KEPT) list.lastElementChild.remove();
}

function compare(list) {
  const now = performance.now();
  for (const row of document.querySelectorAll("#tree tbody tr")) {
    // A group is as its worst process is, which has a row of its own.
    if (row.dataset.kind === "group") continue;
    const address = row.querySelector(".address").textContent.trim();
    const seen = { restarts: Number(row.dataset.restarts), state: row.dataset.state };
    // From noticing its end to its first answer, as its supervisor measured it; else from here.
    const away = row.dataset.away;
    const before = known.get(address);
    known.set(address, seen);
    if (!before) continue;
    if (before.state === "running" && seen.state !== "running") {
      gone.set(address, now);
      note(list, text("tree_gone", { address, state: seen.state }), "gone");
    } else if (before.state !== "running" && seen.state === "running") {
      const s = away || ((now - (gone.get(address) ?? now)) / 1000).toFixed(1);
      gone.delete(address);
      note(list, text("tree_back", { address, s, restarts: seen.restarts }), "back");
    } else if (seen.restarts > before.restarts) {
      const told = away ? text("tree_back", { address, s: away, restarts: seen.restarts }) : text("tree_between", { address, restarts: seen.restarts });
      note(list, told, "back");
    }
  }
}

/** Begin. */
export function start() {
  const list = document.getElementById("seen");
  if (!list) return;
  compare(list);
  document.body.addEventListener("htmx:afterSwap", () => compare(list));
}
