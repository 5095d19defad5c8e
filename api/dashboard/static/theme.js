// The theme that this browser was told, before anything is drawn; nothing told: the system's.
"use strict";
(() => {
  try {
    const told = localStorage.getItem("calejo-theme");
    if (told === "light" || told === "dark") document.documentElement.dataset.theme = told;
  } catch {
    // A browser that keeps nothing follows the system.
  }
})();
