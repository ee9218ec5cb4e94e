// All cameras. Tiles are as large as the window allows. Each has its own player, which plays while it is in view.

import { bestColumns, GAP_PX, TILE_MIN_PX, WALL_GAP_PX } from "../core/layout.ts";
import type { RenditionRequest } from "../core/rendition.ts";
import type { Camera, Wall } from "../generated/api.ts";
import type { LiveEdgePlayer } from "../player.ts";
import { h, setText } from "./dom.ts";
import { bitrate, since } from "./format.ts";
import { language, t } from "./i18n.ts";
import { isLive, nameOf, noSuchCamera, store } from "./store.ts";
import { showWizard } from "./wizard.ts";

class Tile {
  readonly player: LiveEdgePlayer;
  readonly element: HTMLElement;
  private readonly link: HTMLAnchorElement;
  private readonly detail = h("span", { class: "detail" });
  private readonly recording = h("span", { class: "rec", hidden: true }, "REC");

  constructor(readonly id: string) {
    this.player = h("live-edge-player" as "div", { camera: id, lang: language }) as unknown as LiveEdgePlayer;
    if (store.api.token) this.player.token = store.api.token;
    this.link = h("a", { href: `#/camera/${id}`, class: "open" }, id);
    this.player.addEventListener("click", () => this.link.click());
    this.element = h(
      "article",
      { class: "tile", "data-camera": id },
      this.player,
      h("footer", {}, h("h2", {}, this.link), this.recording, this.detail),
    );
  }

  update(camera: Camera, rendition: RenditionRequest): void {
    this.player.rendition = rendition;
    setText(this.link, nameOf(camera));
    const facts: string[] = [];
    if (camera.down_since) facts.push(t("downSince", { time: since(Date.parse(camera.down_since)) }));
    if (camera.width) facts.push(`${camera.width}×${camera.height}`);
    if (camera.fps) facts.push(`${Math.round(camera.fps)} fps`);
    if (camera.bitrate_bps) facts.push(bitrate(camera.bitrate_bps));
    this.element.toggleAttribute("data-down", camera.down_since !== null);
    setText(this.detail, facts.join(" · "));
    const recording = store.status?.archive.cameras[this.id]?.is_recording ?? false;
    this.recording.hidden = !recording;
    this.recording.ariaLabel = t("recordingNow");
    this.recording.title = t("recordingNow");
    this.element.dataset.state = isLive(camera) ? "live" : camera.state;
  }
}

export class Grid {
  /** Of the wall, which has no header: a page begins with a heading. */
  private readonly heading = h("h1", { class: "visually-hidden", hidden: true }, t("cameras"));
  readonly element = h("main", { class: "grid", "aria-label": t("cameras") }, this.heading);
  private readonly missing = h("p", { class: "missing", role: "status" });
  private readonly tiles = new Map<string, Tile>();
  private columns = 0;
  private wall: Wall | null = null;
  private missingWall: string | null = null;
  private isWall = false;

  constructor() {
    new ResizeObserver(() => this.updateLayout()).observe(this.element);
    addEventListener("resize", () => this.updateLayout());
    this.element.addEventListener("keydown", (event) => this.moveFocus(event));
  }

  /** The video wall: only tiles, from edge to edge of the screen. */
  setWall(isWall: boolean): void {
    this.isWall = isWall;
    this.element.classList.toggle("wall", isWall);
    this.heading.hidden = !isWall;
    this.updateLayout();
  }

  /** Whether it shows a saved wall, which has columns of its own. */
  get isOfWall(): boolean {
    return this.wall !== null;
  }

  /** Show the cameras of a saved wall, in its order, or all cameras. `missing`: the wall that was asked for, and is not. */
  show(wall: Wall | null, missing: string | null): void {
    this.wall = wall;
    this.missingWall = missing;
    this.update();
    this.updateLayout();
  }

  /** 0 chooses the number by the size of the window. */
  setColumns(columns: number): void {
    this.columns = columns;
    this.updateLayout();
  }

  update(): void {
    const cameras = this.cameras();
    for (const [id, tile] of this.tiles) {
      if (cameras.some((camera) => camera.camera_id === id)) continue;
      tile.element.remove();
      this.tiles.delete(id);
    }
    let after: Element = this.heading;
    for (const camera of cameras) {
      let tile = this.tiles.get(camera.camera_id);
      if (!tile) {
        tile = new Tile(camera.camera_id);
        this.tiles.set(tile.id, tile);
      }
      // A player that is moved starts again: only what is not in its place is.
      const place: Element | null = after.nextElementSibling;
      if (place !== tile.element) {
        this.element.insertBefore(tile.element, place);
        this.updateLayout();
      }
      after = tile.element;
      tile.update(camera, this.renditionOf(camera.camera_id));
    }
    this.showMissing();
    const empty = this.element.querySelector(".empty");
    if (store.status && store.status.cameras.length === 0 && !empty) {
      this.element.append(
        h(
          "section",
          { class: "empty" },
          h("h2", {}, t("noCameras")),
          h("p", {}, t("noCamerasHelp")),
          store.hasScope("admin") && h("button", { class: "primary", onclick: showWizard }, t("addCamera")),
        ),
      );
    } else if (store.status && store.status.cameras.length > 0) empty?.remove();
  }

  /** Say that there is no such wall, or which cameras of it were removed. */
  private showMissing(): void {
    const ids = (this.wall?.tiles ?? []).map(({ camera_id }) => camera_id);
    const removed = ids.filter((id) => store.isMissing(id)).map(noSuchCamera);
    const text = this.missingWall === null ? removed.join(" ") : t("noSuchWall", { wall: this.missingWall });
    setText(this.missing, text);
    if (!text) this.missing.remove();
    else if (this.element.lastElementChild !== this.missing) this.element.append(this.missing);
  }

  /** The cameras of the wall that there are, or all. */
  private cameras(): Camera[] {
    const { wall } = this;
    if (wall === null) return store.status?.cameras ?? [];
    return wall.tiles.map(({ camera_id }) => store.camera(camera_id)).filter((camera) => camera !== null);
  }

  private renditionOf(id: string): RenditionRequest {
    return this.wall?.tiles.find(({ camera_id }) => camera_id === id)?.rendition ?? "auto";
  }

  setToken(token: string): void {
    for (const { player } of this.tiles.values()) player.token = token;
  }

  private updateLayout(): void {
    const gap = this.isWall ? WALL_GAP_PX : GAP_PX;
    const { clientWidth, offsetTop } = this.element;
    const [width, height] = [clientWidth - 2 * gap, innerHeight - offsetTop - 2 * gap];
    const count = Math.max(1, this.tiles.size);
    const wanted = this.wall === null ? this.columns : this.wall.columns;
    const columns = wanted || bestColumns(count, width, height, gap);
    const rows = Math.ceil(count / columns);
    // Limit the width of a tile by its height, so that all tiles fit on one screen if possible.
    const tile = Math.floor(((height - (rows - 1) * gap) / rows) * (16 / 9));
    this.element.style.setProperty("--gap", `${gap}px`);
    const most = wanted || tile < TILE_MIN_PX ? "1fr" : `${tile}px`;
    this.element.style.gridTemplateColumns = `repeat(${columns}, minmax(0, ${most}))`;
  }

  /** Arrow keys move the focus from tile to tile. */
  private moveFocus(event: KeyboardEvent): void {
    const links = [...this.element.querySelectorAll<HTMLElement>("a.open")];
    const at = links.indexOf(event.target as HTMLElement);
    const columns = getComputedStyle(this.element).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const next = step === undefined || at < 0 ? undefined : links[at + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}
