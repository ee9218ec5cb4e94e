// Instead of a view that the token does not allow.

import type { PageRoute } from "../core/route.ts";
import { cameraHash } from "../core/route.ts";
import type { Scope } from "../generated/api.ts";
import { icon } from "../icons.ts";
import { h } from "./dom.ts";
import { t } from "./i18n.ts";
import { nameOf, store } from "./store.ts";

/** The scope that a view needs; null if it needs none. A camera without a moment is live. */
export function scopeOf(route: PageRoute): Scope | null {
  if (route.view === "access") return "admin";
  const isRecorded = route.view === "playback" || route.view === "exports";
  return isRecorded || (route.view === "camera" && route.time !== null) ? "archive" : null;
}

export class NotAllowedView {
  readonly element: HTMLElement;

  constructor(route: PageRoute, scope: Scope) {
    const camera = route.view === "camera" ? store.camera(route.camera) : null;
    this.element = h(
      "main",
      { class: "exports" },
      h("div", { class: "bar" }, h("a", { href: "#/", class: "back" }, icon("back"), t("back"))),
      h(
        "section",
        { class: "card" },
        h("p", { role: "alert" }, t("needsScope", { scope })),
        camera &&
          h("p", {}, h("a", { href: cameraHash(camera.camera_id, null) }, `${nameOf(camera)}: ${t("jumpLive")}`)),
      ),
    );
  }

  update(): void {}

  close(): void {}
}
