// The theme that this browser was told, before anything is drawn; nothing told: the system's, as it changes.
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    let told = null;
    try {
      told = localStorage.getItem("calejo-theme");
    } catch {
      // A browser that keeps nothing follows the system.
    }
    const system = dark.matches ? "dark" : "light";
    document.documentElement.dataset.theme = told === "light" || told === "dark" ? told : system;
  };
  show();
  dark.addEventListener("change", show);
})();
