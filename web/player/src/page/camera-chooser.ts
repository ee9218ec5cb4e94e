// The choice of the cameras that play on one clock.

import { CAMERAS_MAX } from "../core/route.ts";
import { isDialogOpen, openDialog, titledDialog } from "./dialog.ts";
import { h } from "./dom.ts";
import { t } from "./i18n.ts";
import { nameOf, store } from "./store.ts";

/** Ask which cameras to show. Null if the dialog was closed. */
export async function chooseCameras(chosen: readonly string[]): Promise<string[] | null> {
  if (isDialogOpen()) return null;
  const cameras = store.status?.cameras ?? [];
  const boxes = cameras.map(({ camera_id }) =>
    h("input", { type: "checkbox", value: camera_id, checked: chosen.includes(camera_id), onchange: () => limit() }),
  );
  const limit = () => {
    const count = boxes.filter(({ checked }) => checked).length;
    for (const box of boxes) box.disabled = !box.checked && count >= CAMERAS_MAX;
    show.disabled = count === 0;
  };
  const show = h("button", { class: "primary", value: "show" }, t("showCameras"));
  const rows = cameras.map((camera, number) => h("li", {}, h("label", {}, boxes[number] ?? "", nameOf(camera))));
  const dialog = titledDialog(
    "chooser",
    t("chooseCamera"),
    h(
      "form",
      { method: "dialog" },
      h("p", { class: "muted" }, t("chooseCameras", { count: CAMERAS_MAX })),
      h("ul", {}, ...rows),
      show,
    ),
  );
  limit();
  openDialog(dialog, true);
  boxes[0]?.focus();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue !== "show") return null;
  return boxes.filter(({ checked }) => checked).map(({ value }) => value);
}
