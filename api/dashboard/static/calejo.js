// Starts what a page needs.

import { command } from "./base.js";
import * as forms from "./forms.js";
import * as live from "./live.js";
import * as stop from "./stop.js";
import * as tree from "./tree.js";
import * as trend from "./trend.js";

function theme() {
  document.getElementById("theme")?.addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("calejo-theme", root.dataset.theme);
    } catch {
      // Then it holds for this page.
    }
    document.dispatchEvent(new Event("calejo:theme"));
  });
}

function logout() {
  document.getElementById("logout")?.addEventListener("click", async () => {
    try {
      await command("/logout", {});
    } finally {
      location.assign("/login");
    }
  });
}

theme();
logout();
// The stop first: nothing that fails behind it takes it away.
for (const part of [stop, live, forms, trend, tree]) part.start();
document.documentElement.dataset.ready = "yes";
