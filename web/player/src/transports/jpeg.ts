// JPEG over Socket.IO. The gateway has one frame in flight. It sends the next one, which is then the newest, when this one
// is acknowledged, and that is when it is on the screen.

import { toFailure } from "../core/api.ts";
import type { VideoFrame } from "../generated/events.ts";
import { JpegCanvas } from "./jpeg-canvas.ts";
import type { Socket } from "./socket.ts";
import type { Transport, TransportContext, TransportStats } from "./transport.ts";

export class JpegTransport implements Transport {
  readonly name = "jpeg";
  readonly surface: HTMLCanvasElement;
  private readonly canvas = new JpegCanvas();
  private socket: Socket | null = null;
  private stopped = false;

  constructor(private readonly context: TransportContext) {
    this.surface = this.canvas.element;
  }

  start(): void {
    this.connect().catch((error: unknown) => this.fail(error));
  }

  stop(): void {
    this.stopped = true;
    this.socket?.disconnect();
  }

  async statistics(): Promise<TransportStats> {
    return { ...this.canvas.statistics, detail: this.socket?.io.engine.transport.name ?? "" };
  }

  private async connect(): Promise<void> {
    const { connect, request, toApiError } = await import("./socket.ts");
    if (this.stopped) return;
    const socket = await connect(this.context.api);
    this.socket = socket;
    if (this.stopped) {
      socket.disconnect();
      return;
    }
    socket.on("disconnect", () => this.fail(null));
    socket.on("access_ended", (ended) => this.fail(toApiError(ended, this.context.api)));
    socket.on("video_frame_from_service", (frame: VideoFrame, acknowledge?: () => void) => {
      this.canvas
        .draw(frame.frame_data)
        .then(() => this.stopped || this.context.onFrame(Date.parse(frame.metadata.timestamp)))
        .catch((error: unknown) => this.fail(error))
        .finally(() => acknowledge?.());
    });
    await request(this.context.api, socket, "frames_subscribe", {
      camera_id: this.context.camera,
      width: this.context.width,
    });
  }

  private fail(error: unknown): void {
    if (!this.stopped) this.context.onFailure(toFailure(error));
  }
}
