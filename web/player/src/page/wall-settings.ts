// The dialog that makes, changes and removes a saved wall.

import { ApiError } from "../core/api.ts";
import { moved, newWallId } from "../core/walls.ts";
import type { Wall, WallChange, WallList, WallTile } from "../generated/api.ts";
import { icon } from "../icons.ts";
import { isDialogOpen, openDialog, titledDialog } from "./dialog.ts";
import { h, setText } from "./dom.ts";
import { messageOf } from "./failure.ts";
import { type PageMessageKey, t } from "./i18n.ts";
import { nameOf, store } from "./store.ts";

const RENDITIONS = ["auto", "main", "sub"] as const;
const COLUMNS_MAX = 12;

/** Open the dialog for a wall, or for a new one, unless one is open. `done` gets the id of the wall; null: removed. */
export function showWallSettings(
  wall: Wall | null,
  walls: readonly Wall[],
  done: (id: string | null) => Promise<void>,
): void {
  if (!isDialogOpen()) new Dialog(wall, walls, done).open();
}

class Dialog {
  private tiles: WallTile[];
  /** Of the wall that is changed: somebody else may save another one meanwhile. */
  private revision: string;
  private readonly error = h("p", { class: "error", role: "alert" });
  private readonly name: HTMLInputElement;
  private readonly columns = h("input", { type: "number", min: 0, max: COLUMNS_MAX, required: true });
  private readonly tour = h("input", { type: "number", min: 3, max: 3600, placeholder: t("notInTour") });
  private readonly rows = h("ol", { class: "tiles" });
  private readonly others = h("select", { "aria-label": t("addToWall") });
  private readonly box: HTMLDialogElement;

  constructor(
    private readonly wall: Wall | null,
    private walls: readonly Wall[],
    private readonly done: (id: string | null) => Promise<void>,
  ) {
    this.revision = wall?.revision ?? "";
    const cameras = store.status?.cameras ?? [];
    // Copies: what is shown stays as it is until it is saved.
    this.tiles =
      wall?.tiles.map((tile) => ({ ...tile })) ?? cameras.map(({ camera_id }) => ({ camera_id, rendition: "auto" }));
    this.name = h("input", { value: wall?.name ?? "", maxlength: 100, required: true });
    this.columns.value = String(wall?.columns ?? 0);
    this.tour.value = String(wall?.tour_s ?? "");
    this.others.addEventListener("change", () => {
      this.tiles = [...this.tiles, { camera_id: this.others.value, rendition: "auto" }];
      this.update();
    });
    const form = h(
      "form",
      { class: "camera settings" },
      field("wallName", this.name),
      field("wallColumns", this.columns),
      field("tourSeconds", this.tour),
      h("div", { class: "whole" }, this.rows, this.others),
      h("button", { class: "primary" }, t("save")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.save();
    });
    const title = t(wall ? "editWall" : "newWall");
    this.box = titledDialog(
      "wizard",
      title,
      h("div", { class: "content" }, form),
      this.error,
      wall &&
        h(
          "div",
          { class: "buttons" },
          h("button", { type: "button", onclick: () => void this.remove(wall) }, t("removeWall")),
        ),
    );
    this.update();
  }

  open(): void {
    openDialog(this.box);
    this.name.focus();
  }

  private update(): void {
    this.rows.replaceChildren(...this.tiles.map((tile, at) => this.row(tile, at)));
    const unused = (store.status?.cameras ?? []).filter(
      ({ camera_id }) => !this.tiles.some((tile) => tile.camera_id === camera_id),
    );
    this.others.replaceChildren(
      h("option", { value: "", selected: true, disabled: true }, t("addToWall")),
      ...unused.map((camera) => h("option", { value: camera.camera_id }, nameOf(camera))),
    );
    this.others.hidden = unused.length === 0;
  }

  private row(tile: WallTile, at: number): HTMLElement {
    const camera = store.camera(tile.camera_id);
    const name = camera ? nameOf(camera) : tile.camera_id;
    const rendition = h(
      "select",
      {
        "aria-label": t("streamOf", { camera: name }),
        onchange: () => {
          tile.rendition = rendition.value as WallTile["rendition"];
        },
      },
      ...RENDITIONS.map((value) => h("option", { value, selected: value === tile.rendition }, t(`stream_${value}`))),
    );
    return h(
      "li",
      {},
      h("span", {}, name),
      rendition,
      this.rowButton("up", "moveUp", name, at === 0, () => this.move(at, -1)),
      this.rowButton("down", "moveDown", name, at === this.tiles.length - 1, () => this.move(at, 1)),
      this.rowButton("close", "takeOff", name, this.tiles.length === 1, () => {
        this.tiles = this.tiles.filter((other) => other !== tile);
        this.update();
      }),
    );
  }

  private rowButton(
    symbol: "up" | "down" | "close",
    key: PageMessageKey,
    camera: string,
    disabled: boolean,
    onclick: () => void,
  ): HTMLElement {
    const label = t(key, { camera });
    return h(
      "button",
      { type: "button", class: "icon", "aria-label": label, title: label, disabled, onclick },
      icon(symbol),
    );
  }

  /** The focus follows the camera. */
  private move(at: number, by: number): void {
    this.tiles = moved(this.tiles, at, by);
    this.update();
    const buttons = this.rows.children[at + by]?.querySelectorAll("button");
    const [up, down] = buttons ?? [];
    const [same, other] = by < 0 ? [up, down] : [down, up];
    (same?.disabled ? other : same)?.focus();
  }

  private async save(): Promise<void> {
    const taken = this.walls.map(({ wall_id }) => wall_id);
    const id = this.wall?.wall_id ?? newWallId(this.name.value, taken);
    const settings: WallChange = {
      revision: this.revision,
      name: this.name.value,
      columns: Number(this.columns.value),
      tiles: this.tiles,
      tour_s: this.tour.value ? Number(this.tour.value) : null,
    };
    await this.send(() => store.api.send("PUT", `/api/walls/${id}`, settings), id);
  }

  /** Somebody else has saved a wall: the next attempt replaces theirs, or has another id. */
  private async reload(): Promise<void> {
    try {
      this.walls = (await store.api.json<WallList>("/api/walls")).walls;
      const { wall } = this;
      if (wall) this.revision = this.walls.find(({ wall_id }) => wall_id === wall.wall_id)?.revision ?? "";
    } catch {
      // The next attempt says what is wrong.
    }
  }

  private async remove({ wall_id, name }: Wall): Promise<void> {
    if (confirm(t("removeWallConfirm", { wall: name })))
      await this.send(() => store.api.send("DELETE", `/api/walls/${wall_id}`), null);
  }

  private async send(request: () => Promise<unknown>, id: string | null): Promise<void> {
    setText(this.error, "");
    this.box.inert = true;
    try {
      await request();
    } catch (error) {
      setText(this.error, messageOf(error));
      if (error instanceof ApiError && error.status === 409) await this.reload();
      return;
    } finally {
      this.box.inert = false;
    }
    await this.done(id);
    this.box.close();
  }
}

function field(key: PageMessageKey, input: HTMLElement): HTMLElement {
  return h("label", {}, t(key), input);
}
