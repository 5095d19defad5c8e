// The login form: posts JSON, and goes where the person wanted to go.

import { Refused, command } from "./base.js";

const form = document.getElementById("login");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const wrong = document.getElementById("wrong");
  const button = form.querySelector("[type=submit]");
  wrong.textContent = "";
  button.disabled = true;
  try {
    const { user, password, code } = Object.fromEntries(new FormData(form));
    const answer = await command("/login", { user, password, code });
    location.assign(answer.must_change_password ? "/account" : form.dataset.following);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    wrong.textContent = error.message;
    form.elements.password.select();
  } finally {
    button.disabled = false;
  }
});

document.documentElement.dataset.ready = "yes";
