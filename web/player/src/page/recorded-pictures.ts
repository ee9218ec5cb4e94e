// The pictures of what was recorded of some cameras, by the segments that are known. Those of a time are of the first camera
// that has any.

import type { Segment } from "../generated/api.ts";
import { frameAt, imageUrl } from "./archive.ts";
import type { PreviewPictures } from "./timeline-preview.ts";

const FRAME_PX = 384;

export class RecordedPictures implements PreviewPictures {
  private readonly segments = new Map<string, readonly Segment[]>();

  constructor(private readonly cameras: readonly string[]) {}

  /** The segments of a camera in the view. */
  setSegments(camera: string, segments: readonly Segment[]): void {
    this.segments.set(camera, segments);
  }

  /** The segment of a camera that has the time. */
  segmentAt(camera: string, time: number): Segment | undefined {
    const segments = this.segments.get(camera) ?? [];
    return segments.find(({ start, end }) => Date.parse(start) <= time && time < Date.parse(end));
  }

  thumbnail(time: number): string | null {
    for (const camera of this.cameras) {
      const segment = this.segmentAt(camera, time);
      if (segment) return imageUrl(segment.thumbnail);
    }
    return null;
  }

  async frame(time: number, signal: AbortSignal): Promise<Blob | null> {
    const camera = this.cameras.find((each) => this.segmentAt(each, time));
    return camera === undefined ? null : frameAt(camera, time, FRAME_PX, signal);
  }
}
