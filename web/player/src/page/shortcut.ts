// Which keys are shortcuts of a view.

import { isDialogOpen } from "./dialog.ts";

/** Not a key of the browser, of a dialog or of a field, and not the space that presses a button or follows a link. */
export function isShortcut(event: KeyboardEvent): boolean {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || isDialogOpen()) return false;
  const { tagName } = event.target as HTMLElement;
  return !/^(INPUT|SELECT)$/.test(tagName) && !(event.key === " " && /^(BUTTON|A)$/.test(tagName));
}
