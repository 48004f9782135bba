// Everything works without this file. It adds: passkeys, live refresh, friendlier forms.
import "htmx.org/dist/htmx.esm.js";
import { CharacterCount, ErrorSummary, SkipLink, createAll } from "nhsuk-frontend";
import { startForms } from "./forms.js";
import { startLive } from "./live.js";
import { startPasskeys } from "./passkey.js";

document.body.classList.add("js-enabled", "nhsuk-frontend-supported");
for (const component of [CharacterCount, ErrorSummary, SkipLink]) {
  createAll(component);
}
startForms();
startPasskeys();
startLive();
