"use strict";
// The page has no script of its own in it: its policy allows files of this server only.
window.addEventListener("load", () => {
  window.SwaggerUIBundle({
    url: "/api/v1/schema/openapi.json",
    dom_id: "#document",
    deepLinking: true,
    // Asks nobody outside whether the document is valid.
    validatorUrl: null,
    presets: [window.SwaggerUIBundle.presets.apis],
  });
});
