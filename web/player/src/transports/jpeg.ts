// JPEG over Socket.IO. The gateway sends one frame at a time; the next, which is then the newest, comes when this one is
// on the screen and acknowledged.

import { toFailure } from "../core/api.ts";
import { Canvas } from "./jpeg-canvas.ts";
import type { Socket } from "./socket.ts";
import type { Transport, TransportContext, TransportStats } from "./transport.ts";

interface VideoFrame {
  frame_data: ArrayBuffer;
  metadata: { camera_id: string; timestamp: string };
}

export class JpegTransport implements Transport {
  readonly name = "jpeg";
  readonly surface: HTMLCanvasElement;
  private readonly canvas = new Canvas();
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
    const { connect, refusal, request } = await import("./socket.ts");
    if (this.stopped) return;
    const socket = await connect(this.context.api);
    this.socket = socket;
    if (this.stopped) {
      socket.disconnect();
      return;
    }
    socket.on("disconnect", () => this.fail(null));
    socket.on("access_ended", (ended: { error: string; message: string }) => this.fail(refusal(ended)));
    socket.on("video_frame_from_service", (frame: VideoFrame, acknowledge?: (answer: object) => void) => {
      this.canvas
        .draw(frame.frame_data)
        .then(() => this.stopped || this.context.picture(Date.parse(frame.metadata.timestamp)))
        .catch((error: unknown) => this.fail(error))
        .finally(() => acknowledge?.({ ok: true }));
    });
    await request(socket, "frames_subscribe", { camera_id: this.context.camera, width: this.context.width });
  }

  private fail(error: unknown): void {
    if (!this.stopped) this.context.failed(toFailure(error));
  }
}
