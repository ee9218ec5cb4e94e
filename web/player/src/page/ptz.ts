// The buttons that move a camera. A movement goes on while a button is held.

import { ApiError } from "../core/api.ts";
import { placeIn } from "../core/picture-place.ts";
import type { PtzCommand, PtzState } from "../generated/api.ts";
import { type Icon, icon } from "../icons.ts";
import type { LiveEdgePlayer } from "../player.ts";
import { h, setText } from "./dom.ts";
import { messageOf } from "./failure.ts";
import { type PageMessageKey, t } from "./i18n.ts";
import { store } from "./store.ts";

/** The camera stops this long after the last command of a page that is gone. */
const TIMEOUT_S = 1.5;
const REPEAT_MS = 1000;
const SPEED = 0.6;

type Direction = Pick<Partial<PtzCommand>, "pan" | "tilt" | "zoom">;

const BUTTONS: readonly (readonly [Icon, PageMessageKey, string, Direction])[] = [
  ["up", "tiltUp", "n", { tilt: SPEED }],
  ["back", "panLeft", "w", { pan: -SPEED }],
  ["next", "panRight", "e", { pan: SPEED }],
  ["down", "tiltDown", "s", { tilt: -SPEED }],
  ["zoomOut", "zoomCameraOut", "out", { zoom: -SPEED }],
  ["zoomIn", "zoomCameraIn", "in", { zoom: SPEED }],
];

export class PtzPanel {
  readonly element = h("section", { class: "card ptz", "aria-label": t("ptz"), hidden: true });
  private readonly message = h("p", { class: "message", role: "status" });
  private readonly center = h(
    "button",
    { type: "button", "aria-pressed": "false", onclick: () => this.toggleCenter() },
    icon("center"),
    t("clickToCenter"),
  );
  private timer = 0;
  private isAsked = false;

  constructor(
    private readonly id: string,
    private readonly player: LiveEdgePlayer,
  ) {
    // In the capture phase: the player pauses at a click.
    player.addEventListener("click", (event) => this.onClick(event), { capture: true });
  }

  close(): void {
    this.stop();
  }

  update(): void {
    if (this.isAsked || !store.camera(this.id)?.has_onvif || !store.hasScope("ptz")) return;
    this.isAsked = true;
    void this.load();
  }

  private async load(): Promise<void> {
    try {
      this.show(await store.api.json<PtzState>(this.path));
    } catch (error) {
      // Most cameras cannot be moved: there is nothing to show then.
      if (!(error instanceof ApiError) || error.status === 409) return;
      this.element.hidden = false;
      this.element.replaceChildren(h("h2", {}, t("ptz")), this.message);
      setText(this.message, error.message);
    }
  }

  private show(state: PtzState): void {
    const shown = BUTTONS.filter(([, , , { zoom }]) => (zoom ? state.can_zoom : state.can_move));
    const pad = h("div", { class: "pad" }, ...shown.map((button) => this.moveButton(...button)), this.homeButton());
    const presets = h(
      "select",
      { "aria-label": t("presets"), onchange: () => this.goTo(presets) },
      h("option", { value: "" }, t("presets")),
      ...state.presets.map(({ token, name }) => h("option", { value: token }, name)),
    );
    this.element.replaceChildren(
      h("h2", {}, t("ptz")),
      pad,
      ...(state.presets.length > 0 ? [presets] : []),
      ...(state.can_center ? [this.center] : []),
      this.message,
    );
    this.element.hidden = false;
  }

  private moveButton(symbol: Icon, word: PageMessageKey, place: string, direction: Direction): HTMLElement {
    const begin = () => this.begin(direction);
    const end = () => this.stop();
    return h(
      "button",
      {
        type: "button",
        class: `icon ${place}`,
        title: t(word),
        "aria-label": t(word),
        onpointerdown: (event) => {
          (event.target as Element).setPointerCapture((event as PointerEvent).pointerId);
          begin();
        },
        onlostpointercapture: end,
        onkeydown: (event) => {
          const { key, repeat } = event as KeyboardEvent;
          if (key !== "Enter" && key !== " ") return;
          event.preventDefault();
          event.stopPropagation(); // of the page, where it plays and pauses
          if (!repeat) begin();
        },
        onkeyup: end,
        onblur: end,
      },
      icon(symbol),
    );
  }

  private homeButton(): HTMLElement {
    const home = () => void this.send({ action: "home" });
    const attributes = { type: "button", class: "icon home", title: t("home"), "aria-label": t("home"), onclick: home };
    return h("button", attributes, icon("home"));
  }

  private begin(direction: Direction): void {
    clearInterval(this.timer);
    const move = () => void this.send({ action: "move", timeout_s: TIMEOUT_S, ...direction });
    this.timer = window.setInterval(move, REPEAT_MS);
    move();
  }

  private stop(): void {
    if (this.timer === 0) return;
    clearInterval(this.timer);
    this.timer = 0;
    void this.send({ action: "stop" });
  }

  private goTo(presets: HTMLSelectElement): void {
    if (presets.value) void this.send({ action: "preset", preset: presets.value });
    presets.value = "";
  }

  private toggleCenter(): void {
    const isPressed = this.center.ariaPressed !== "true";
    this.center.ariaPressed = String(isPressed);
    this.player.classList.toggle("centering", isPressed);
  }

  private onClick(event: MouseEvent): void {
    if (this.center.ariaPressed !== "true") return;
    const camera = store.camera(this.id);
    // The surface is larger than the player while it is zoomed.
    const shown = this.player.surface ?? this.player;
    const place = placeIn(shown.getBoundingClientRect(), event, (camera?.width ?? 16) / (camera?.height ?? 9));
    // Its own buttons are at the lower edge.
    if (!place || event.composedPath().some((each) => each instanceof HTMLButtonElement)) return;
    event.stopPropagation();
    event.preventDefault();
    void this.send({ action: "center", ...place });
  }

  private get path(): string {
    return `/api/cameras/${this.id}/ptz`;
  }

  private async send(command: Partial<PtzCommand>): Promise<void> {
    try {
      const headers = { "Content-Type": "application/json" };
      await store.api.fetch(this.path, { method: "POST", headers, body: JSON.stringify(command), keepalive: true });
      setText(this.message, "");
    } catch (error) {
      setText(this.message, messageOf(error));
    }
  }
}
