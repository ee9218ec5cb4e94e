// Digital zoom of a player with the attribute `zoom`: two fingers, the wheel with Ctrl, or + and - while the focus is in
// the player. Zoomed, one finger, a drag or the arrow keys move the picture, and the wheel needs no Ctrl.

import { panBy, transformOf, WHOLE_PICTURE, type Zoom, zoomAt } from "./core/zoom.ts";

const STEP = 1.5;
/** Of a key, as a share of the player. */
const PAN = 0.1;
/** A wheel turns by about 100 pixels a notch; two fingers on a touch pad send many small deltas. */
const PER_WHEEL_PIXEL = 0.002;
/** A pointer that moves less is a click. */
const CLICK_PX = 5;

const ARROWS: Record<string, readonly [dx: number, dy: number]> = {
  ArrowLeft: [PAN, 0],
  ArrowRight: [-PAN, 0],
  ArrowUp: [0, PAN],
  ArrowDown: [0, -PAN],
};

interface Point {
  x: number;
  y: number;
}

export class DigitalZoom {
  private zoom: Zoom = WHOLE_PICTURE;
  private readonly pointers = new Map<number, Point>();
  private draggedPx = 0;

  /** `surfaces` fills the player, and moves under it. `changed` is called when the zoom has. */
  constructor(
    private readonly player: HTMLElement,
    private readonly surfaces: HTMLElement,
    private readonly changed: () => void,
  ) {
    player.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    player.addEventListener("keydown", (event) => this.onKey(event));
    // Before the listeners of the page: the end of a drag is no click.
    player.addEventListener("click", (event) => this.onClick(event), { capture: true });
    // A browser would pan the page with two fingers, too.
    const own = (event: TouchEvent) => this.isOn && event.touches.length > 1 && event.preventDefault();
    surfaces.addEventListener("touchstart", own, { passive: false });
    surfaces.addEventListener("touchmove", own, { passive: false });
    surfaces.addEventListener("pointerdown", (event) => this.onDown(event));
    surfaces.addEventListener("pointermove", (event) => this.onMove(event));
    // Not lostpointercapture: a finger is captured by the video before it is by the surfaces.
    for (const name of ["pointerup", "pointercancel"] as const)
      surfaces.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
  }

  get scale(): number {
    return this.zoom.scale;
  }

  in(): void {
    this.set(zoomAt(this.zoom, STEP, 0.5, 0.5));
  }

  out(): void {
    this.set(zoomAt(this.zoom, 1 / STEP, 0.5, 0.5));
  }

  /** Show the whole picture. */
  reset(): void {
    this.pointers.clear();
    this.set(WHOLE_PICTURE);
  }

  private get isOn(): boolean {
    return this.player.hasAttribute("zoom");
  }

  private set(zoom: Zoom): void {
    const isSame = zoom.scale === this.zoom.scale;
    this.zoom = zoom;
    this.surfaces.style.transform = transformOf(zoom);
    this.player.toggleAttribute("data-zoomed", zoom.scale > 1);
    if (!isSame) this.changed();
  }

  /** The place in the player, as shares of its size. */
  private at({ clientX, clientY }: MouseEvent): Point {
    const box = this.player.getBoundingClientRect();
    return { x: (clientX - box.left) / (box.width || 1), y: (clientY - box.top) / (box.height || 1) };
  }

  private onWheel(event: WheelEvent): void {
    // Without Ctrl, which browsers set for two fingers on a touch pad, too, the wheel scrolls the page.
    if (!this.isOn || !(event.ctrlKey || this.scale > 1 || document.fullscreenElement)) return;
    event.preventDefault();
    const { x, y } = this.at(event);
    const deltaPx = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * 33;
    this.set(zoomAt(this.zoom, Math.exp(-deltaPx * PER_WHEEL_PIXEL), x, y));
  }

  private onKey(event: KeyboardEvent): void {
    if (!this.isOn || event.ctrlKey || event.altKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (event.key === "+" || event.key === "=") this.in();
    else if (event.key === "-") this.out();
    else if (event.key === "0") this.reset();
    else if (arrow && this.scale > 1) this.set(panBy(this.zoom, ...arrow));
    else return;
    event.preventDefault();
  }

  private onClick(event: MouseEvent): void {
    if (this.draggedPx > CLICK_PX) event.stopImmediatePropagation();
    this.draggedPx = 0;
  }

  private onDown(event: PointerEvent): void {
    if (!this.isOn || event.button !== 0) return;
    // A mouse that was released elsewhere.
    if (event.isPrimary) this.pointers.clear();
    if (this.pointers.size === 0) this.draggedPx = 0;
    if (this.pointers.size < 2) this.pointers.set(event.pointerId, this.at(event));
  }

  private onMove(event: PointerEvent): void {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const [now, other] = [this.at(event), [...this.pointers].find(([id]) => id !== event.pointerId)?.[1]];
    if (!other && this.scale === 1) return;
    this.pointers.set(event.pointerId, now);
    this.draggedPx += Math.abs(event.movementX) + Math.abs(event.movementY);
    if (this.draggedPx > CLICK_PX) this.surfaces.setPointerCapture(event.pointerId);
    if (!other) {
      this.set(panBy(this.zoom, now.x - before.x, now.y - before.y));
      return;
    }
    // Half of the movement, because the middle of two fingers moves so.
    const moved = panBy(this.zoom, (now.x - before.x) / 2, (now.y - before.y) / 2);
    const factor = this.distance(now, other) / Math.max(this.distance(before, other), 0.01);
    this.set(zoomAt(moved, factor, (now.x + other.x) / 2, (now.y + other.y) / 2));
  }

  private distance(a: Point, b: Point): number {
    const { width, height } = this.player.getBoundingClientRect();
    return Math.hypot((a.x - b.x) * width, (a.y - b.y) * height) / (width || 1);
  }
}
