// Forms that send JSON, dialogs that they stand in, and buttons that open those. A form names where it posts.

import { Refused, command, say, text } from "./base.js";
import { look } from "./live.js";

function valueOf(field) {
  switch (field.dataset.kind) {
    case "number":
      return Number(field.value);
    case "list":
      return field.value.split(",");
    case "options":
      return Array.from(field.selectedOptions, (each) => each.value);
    default:
      return field.value;
  }
}

/** Return path and body of a form; fields of kind `path` are part of the path; empty ones of a group, and optional ones, are left out. */
function asked(form) {
  const body = {};
  let path = form.dataset.post;
  for (const field of form.elements) {
    if (!field.name) continue;
    const kind = field.dataset.kind;
    if (kind === "path" || kind === "rawpath") {
      const part = kind === "path" ? encodeURIComponent(field.value) : field.value;
      path = path.replace(`{${field.name}}`, () => part);
    } else if (kind === "optional") {
      if (field.value !== "") body[field.name] = Number(field.value);
    } else if (field.dataset.group) {
      body[field.dataset.group] ??= {};
      if (field.value !== "") body[field.dataset.group][field.name] = valueOf(field);
    } else {
      body[field.name] = valueOf(field);
    }
  }
  return { path, body };
}

async function send(form) {
  const wrong = form.querySelector(".wrong-text");
  const button = form.querySelector("[type=submit]");
  const { path, body } = asked(form);
  if (wrong) wrong.textContent = "";
  button.disabled = true;
  try {
    const answer = await command(path, body);
    const secret = form.dataset.show ? answer?.[form.dataset.show] : "";
    if (form.hasAttribute("data-clear")) form.reset();
    if (secret) {
      const once = form.querySelector(".shown-once");
      once.textContent = `${once.dataset.label} `;
      const code = document.createElement("code");
      code.textContent = secret;
      once.append(code);
    } else {
      form.closest("dialog")?.close();
    }
    say(form.dataset.said || "");
    if (form.dataset.go) location.assign(form.dataset.go);
    look(true);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (wrong) wrong.textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

async function lookInto(dialog, path) {
  const place = dialog.querySelector("[data-looked]");
  try {
    const answer = await fetch(path, {
      headers: { "HX-Request": "true", Accept: "text/html" },
      signal: AbortSignal.timeout(5000),
    });
    if (!answer.ok) throw new Refused(answer.status, "");
    // Made by our own templates, every value of which is escaped.
    place.innerHTML = await answer.text();
  } catch {
    place.textContent = text("no_answer");
  }
}

function open(button) {
  const dialog = document.getElementById(button.dataset.open);
  const form = dialog.querySelector("form");
  form?.reset();
  for (const each of dialog.querySelectorAll(".wrong-text, .shown-once")) each.textContent = "";
  for (const name of button.getAttributeNames()) {
    if (!name.startsWith("data-fill-")) continue;
    const field = form?.elements.namedItem(name.slice("data-fill-".length));
    if (field) field.value = button.getAttribute(name);
  }
  const about = dialog.querySelector("[data-about-text]");
  if (about) about.textContent = button.dataset.about || "";
  if (button.dataset.look) lookInto(dialog, button.dataset.look);
  dialog.showModal();
}

/** Begin. */
export function start() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset?.post) return;
    event.preventDefault();
    send(form);
  });
  // However a dialog is closed: what is shown once does not stay in the page. The event does not bubble.
  document.addEventListener(
    "close",
    (event) => {
      for (const each of event.target.querySelectorAll?.(".shown-once") ?? []) each.textContent = "";
    },
    true,
  );
  document.addEventListener("click", (event) => {
    const opener = event.target.closest?.("[data-open]");
    if (opener) open(opener);
    if (event.target.closest?.("[data-close]")) event.target.closest("dialog").close();
  });
}
