// Whether a player can be seen: in view, in a tab that is not hidden, or in a window of picture-in-picture. And its size.

/** A player that is scrolled out of view stops after this, so that scrolling back and forth does not restart it. */
const OUT_OF_VIEW_MS = 10_000;
/** A player in a hidden tab stops after this, so that switching between two tabs does not restart it. */
const HIDDEN_MS = 60_000;
/** A video that is resized by hand changes its size many times a second. */
const RESIZE_MS = 300;

export interface VisibilityEvents {
  /** It can be seen now, or not any more. */
  changed(): void;
  /** It is shown in another size, in device pixels. */
  resized(): void;
}

export class Visibility {
  private isInView = false;
  private resizeTimer = 0;

  constructor(
    private readonly player: HTMLElement,
    private readonly root: ShadowRoot,
    private readonly events: VisibilityEvents,
  ) {
    for (const name of ["enterpictureinpicture", "leavepictureinpicture"])
      root.addEventListener(name, () => events.changed());
  }

  get isSeen(): boolean {
    return this.root.pictureInPictureElement !== null || (this.isInView && !document.hidden);
  }

  /** How long a player that is not seen goes on, ms. */
  get patienceMs(): number {
    return document.hidden ? HIDDEN_MS : OUT_OF_VIEW_MS;
  }

  /** Watch, until the player is taken from its page. */
  watch(signal: AbortSignal): void {
    const { player, events } = this;
    const observer = new IntersectionObserver(
      ([entry]) => {
        this.isInView = entry?.isIntersecting ?? true;
        events.changed();
      },
      { rootMargin: "100px" },
    );
    observer.observe(player);
    const resized = new ResizeObserver(() => this.sizeChanged());
    resized.observe(player);
    document.addEventListener("visibilitychange", () => events.changed(), { signal });
    signal.addEventListener("abort", () => {
      observer.disconnect();
      resized.disconnect();
      clearTimeout(this.resizeTimer);
      this.isInView = false;
    });
  }

  /** Tell the size when it has not changed for a moment. */
  sizeChanged(): void {
    clearTimeout(this.resizeTimer);
    this.resizeTimer = window.setTimeout(() => this.events.resized(), RESIZE_MS);
  }
}
