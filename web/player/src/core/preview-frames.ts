// The pictures of a preview that follows the pointer: of each step of time one is loaded, and kept.
//
// Rules:
// 1. One picture is loaded at a time. Of those that are wanted meanwhile, the newest is the next one.
// 2. FRAMES_MAX are kept, those that were used last. A picture that could not be loaded is asked for again when it is wanted again.

/** Some 15 kB each. */
export const FRAMES_MAX = 200;

export class PreviewFrames {
  /** Object URLs by step, the one that was used last at the end. */
  private readonly urls = new Map<string, string>();
  private wanted: { key: string; time: number } | null = null;
  private isLoading = false;

  constructor(
    private readonly load: (time: number) => Promise<Blob | null>,
    /** A picture was loaded. */
    private readonly loaded: () => void,
  ) {}

  /** The picture of a time, in steps of `step` ms; null until it is loaded. */
  url(time: number, step: number): string | null {
    const key = `${step} ${Math.floor(time / step)}`;
    const url = this.urls.get(key);
    if (url === undefined) {
      this.wanted = { key, time };
      void this.next();
      return null;
    }
    this.wanted = null;
    this.urls.delete(key);
    this.urls.set(key, url);
    return url;
  }

  /** Load nothing more until a picture is wanted again. */
  rest(): void {
    this.wanted = null;
  }

  clear(): void {
    this.rest();
    for (const url of this.urls.values()) URL.revokeObjectURL(url);
    this.urls.clear();
  }

  private async next(): Promise<void> {
    if (this.isLoading) return;
    this.isLoading = true;
    while (this.wanted) {
      const { key, time } = this.wanted;
      this.wanted = null;
      const image = await this.load(time).catch(() => null);
      if (!image) continue;
      this.urls.set(key, URL.createObjectURL(image));
      for (const [oldest, url] of this.urls) {
        if (this.urls.size <= FRAMES_MAX) break;
        URL.revokeObjectURL(url);
        this.urls.delete(oldest);
      }
      this.loaded();
    }
    this.isLoading = false;
  }
}
