// Which saved wall the grid shows: the list in the header, and the tour.

import { ApiError } from "../core/api.ts";
import { TOUR } from "../core/route.ts";
import { nextOf, tourOf } from "../core/walls.ts";
import type { Wall, WallList } from "../generated/api.ts";
import { icon } from "../icons.ts";
import { h } from "./dom.ts";
import { t } from "./i18n.ts";
import { store } from "./store.ts";
import { showWallSettings } from "./wall-settings.ts";

/** Somebody else may have saved one. */
const RELOAD_MS = 30_000;
/** Shown until it is known which cameras are on a wall. */
const UNKNOWN: Wall = { wall_id: "", name: "", columns: 0, tiles: [], tour_s: null, revision: "" };

export class Walls {
  readonly element = h("span", { class: "walls" });
  private walls: Wall[] = [];
  /** Whether they have been read, or may not be. */
  private isKnown = false;
  private wanted: string | null = null;
  private shown: Wall | null = null;
  /** The id of a wall that there is not. */
  private missing: string | null = null;
  private tourTimer = 0;
  /** When the tour came to the wall that it shows, ms of performance.now(); null before it has begun. */
  private tourSince: number | null = null;
  private readonly list = h("select", { "aria-label": t("walls"), title: t("walls") });
  private readonly edit = h(
    "button",
    { type: "button", class: "icon", onclick: () => this.openSettings() },
    icon("edit"),
  );

  /** `choose` is called with the wall that was chosen in the list, and `changed` when another one has to be shown, or there is none with that id. */
  constructor(
    choose: (wall: string | null) => void,
    private readonly changed: (wall: Wall | null, missing: string | null) => void,
  ) {
    this.list.addEventListener("change", () => choose(this.list.value || null));
    this.element.append(this.list, this.edit);
    setInterval(() => document.hidden || void this.load(), RELOAD_MS);
    store.addEventListener("change", () => this.isKnown || store.error || void this.load());
  }

  /** Show this wall: an id, `TOUR`, or null for all cameras. */
  show(wanted: string | null): void {
    if (wanted !== this.wanted) this.tourSince = null;
    this.wanted = wanted;
    this.update();
  }

  /** Read the walls. What cannot be read stays as it was. */
  async load(): Promise<void> {
    try {
      this.walls = (await store.api.json<WallList>("/api/walls")).walls;
    } catch (error) {
      // The banner of the page says why.
      if (!(error instanceof ApiError) || ![403, 404].includes(error.status)) return;
    }
    this.isKnown = true;
    this.update();
  }

  private update(): void {
    const { walls, wanted } = this;
    const option = (value: string, name: string) => h("option", { value, selected: value === (wanted ?? "") }, name);
    const options = [option("", t("allCameras")), ...walls.map(({ wall_id, name }) => option(wall_id, name))];
    if (tourOf(walls).length > 1) options.push(option(TOUR, t("tour")));
    if (document.activeElement !== this.list) this.list.replaceChildren(...options);
    const mayEdit = store.hasScope("admin");
    this.list.hidden = walls.length === 0;
    this.edit.hidden = !mayEdit;
    clearTimeout(this.tourTimer);
    if (wanted !== null && !this.isKnown) this.set(UNKNOWN);
    else if (wanted !== TOUR) {
      const wall = walls.find(({ wall_id }) => wall_id === wanted) ?? null;
      this.set(wall, wall === null ? wanted : null);
    } else {
      const same = tourOf(walls).find(({ wall_id }) => wall_id === this.shown?.wall_id);
      if (same && this.tourSince !== null) this.stay(same, this.tourSince);
      else this.go(same ?? nextOf(walls, null));
    }
  }

  /** The wall that can be changed: not one that the tour happens to show. */
  private get current(): Wall | null {
    return this.wanted === TOUR || !this.isKnown ? null : this.shown;
  }

  private go(wall: Wall | null): void {
    this.tourSince = performance.now();
    this.stay(wall, this.tourSince);
  }

  /** Show a wall until its time in the tour is over. The walls are read again meanwhile, which makes it no longer. */
  private stay(wall: Wall | null, since: number): void {
    this.set(wall);
    const next = () => this.go(nextOf(this.walls, this.shown));
    if (wall?.tour_s) this.tourTimer = window.setTimeout(next, since + wall.tour_s * 1000 - performance.now());
  }

  private set(wall: Wall | null, missing: string | null = null): void {
    const isSame = JSON.stringify([wall, missing]) === JSON.stringify([this.shown, this.missing]);
    this.shown = wall;
    this.missing = missing;
    this.edit.title = this.edit.ariaLabel = t(this.current ? "editWall" : "newWall");
    if (!isSame) this.changed(wall, missing);
  }

  private openSettings(): void {
    showWallSettings(this.current, this.walls, async (id) => {
      await this.load();
      this.list.value = id ?? "";
      this.list.dispatchEvent(new Event("change"));
    });
  }
}
