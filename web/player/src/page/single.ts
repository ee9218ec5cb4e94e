// One camera, large, with all that there is to know and to do.

import type { LiveEdgePlayer, Statistics } from "../player.ts";
import { icon } from "../icons.ts";
import { Details } from "./details.ts";
import { h } from "./dom.ts";
import { Plots } from "./plots.ts";
import { store } from "./store.ts";
import { language, t } from "./words.ts";

export class Single {
  readonly element: HTMLElement;
  readonly player: LiveEdgePlayer;
  private readonly details: Details;
  private readonly plots = new Plots();

  constructor(readonly id: string) {
    this.details = new Details(id);
    this.player = h("live-edge-player" as "div", { camera: id, lang: language, controls: true }) as unknown as LiveEdgePlayer;
    if (store.api.token) this.player.token = store.api.token;
    this.player.addEventListener("statistics", (event) => this.plots.add((event as CustomEvent<Statistics>).detail));
    const back = h("a", { href: "#/", class: "back" }, icon("back"), t("back"));
    this.element = h(
      "main",
      { class: "single" },
      h("div", { class: "bar" }, back, h("h2", {}, id)),
      h("div", { class: "stage" }, this.player),
      h("aside", {}, this.details.element, this.plots.element),
    );
  }

  update(): void {
    this.details.update();
  }

  close(): void {
    this.element.remove();
  }
}
