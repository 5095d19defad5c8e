// What the other scripts share: texts, commands as JSON with the page's proof, and what is said to people.

const TEXTS = JSON.parse(document.body.dataset.texts || "{}");
const ANSWER_WITHIN_MS = 8000;

/** Return a text of the page's language, its {values} filled in. */
export function text(key, values = {}) {
  return (TEXTS[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** Return a text as nodes, its {values} filled in; a value may be a node. */
export function sentence(key, values = {}) {
  return (TEXTS[key] ?? key)
    .split(/(\{\w+\})/)
    .map((part) => (/^\{\w+\}$/.test(part) ? values[part.slice(1, -1)] : null) ?? part);
}

/** Return when the newest view was made, by the server's clock: this machine's may be set to anything. */
export function viewedAt() {
  const at = document.getElementById("strip")?.dataset.at;
  return at ? new Date(at) : new Date();
}

/** Return a time of day as the server's pages tell it: in the plant's zone, by its name, and in UTC on hover. */
export function clock(at) {
  const { zone, zoneName } = document.getElementById("strip")?.dataset ?? {};
  let told;
  try {
    told = [timeIn(at, zone), zoneName];
  } catch {
    // A zone that this browser does not know: UTC, and it says so.
    told = [timeIn(at, "UTC"), "UTC"];
  }
  const shown = document.createElement("time");
  shown.dateTime = at.toISOString();
  shown.title = `${shown.dateTime.slice(0, 19).replace("T", " ")} UTC`;
  const name = document.createElement("span");
  name.className = "zone";
  name.textContent = told[1];
  shown.append(`${told[0]} `, name);
  return shown;
}

function timeIn(at, zone) {
  if (!zone) throw new RangeError("no zone");
  return new Intl.DateTimeFormat("en-GB", {
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone: zone,
  }).format(at);
}

/** The server's refusal of a command: `status` 0 means that nobody answered. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Send a command; return its answer. `withinMs`: how long it may take. Throws Refused. */
export async function command(path, body, withinMs = ANSWER_WITHIN_MS) {
  try {
    return await sent(path, body, withinMs);
  } catch (error) {
    // The proof is of the session's cookie: somebody may have logged in again in another window.
    if (!(error instanceof Refused) || error.status !== 403 || !(await renewed())) throw error;
    return sent(path, body, withinMs);
  }
}

/** Take the present proof; return whether it is another one. */
async function renewed() {
  const strip = document.getElementById("strip");
  if (!strip) return false;
  try {
    const answer = await fetch("/strip", { headers: { "HX-Request": "true" }, signal: AbortSignal.timeout(2000) });
    if (!answer.ok) return false;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const proof = page.getElementById("strip")?.dataset.proof ?? "";
    if (!proof || proof === strip.dataset.proof) return false;
    strip.dataset.proof = proof;
    return true;
  } catch {
    return false;
  }
}

async function sent(path, body, withinMs) {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const strip = document.getElementById("strip");
  if (strip?.dataset.proof) headers["Calejo-Proof"] = strip.dataset.proof;
  let answer;
  let told = null;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      credentials: "same-origin",
      signal: AbortSignal.timeout(withinMs),
    });
    told = await answer.json();
  } catch {
    if (!answer) throw new Refused(0, text("no_answer"));
  }
  if (!answer.ok) throw new Refused(answer.status, told?.detail || text("refused", { status: answer.status }));
  // It was taken, and what became of it was lost on the way: nobody knows, as without an answer.
  if (told === null) throw new Refused(0, text("no_answer"));
  return told;
}

/** Say something in the corner, for people and for screen readers. */
export function say(words) {
  const said = document.getElementById("said");
  if (!said) return;
  said.textContent = words;
  said.classList.add("fresh");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => {
    said.classList.remove("fresh");
    said.textContent = "";
  }, 6000);
}

/** Return an id that nobody has given before (a UUID), also where the browser has no method for it. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
