// Steps through a <video> frame by frame, forward and back.
//
// Rules:
// 1. A step seeks to the middle of a frame, measured from the start of the current one. So rounding cannot show a frame
//    twice.
// 2. Steps that are requested while one is running are added up.

/** The assumed duration of a frame, s, until two consecutive ones were seen. It is doubled up to TRIES times. */
const FRAME_S = 1 / 30;
const FRAME_MAX_S = 4;
const TRIES = 7;
/** After a seek within the buffer, the new frame is presented within this time; after one that must load, within LOAD_MS. */
const PRESENT_MS = 150;
const LOAD_MS = 5000;
const POLL_MS = 10;
/** Two media times closer than this are the same frame, s. */
const EPSILON_S = 0.001;

export class FrameStepper {
  /** Media time at which the current frame starts, and the duration of a frame, s. */
  private frameStart: number | null = null;
  private frameDuration: number | null = null;
  private presentedFrames = 0;
  private hasSeeked = false;
  private pending = 0;
  private isStepping = false;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly signal: AbortSignal,
  ) {
    const onSeeking = () => {
      this.hasSeeked = true;
    };
    video.addEventListener("seeking", onSeeking, { signal });
  }

  /** Forget the timing: other media is loaded. */
  reset(): void {
    this.frameStart = this.frameDuration = null;
  }

  /** Learn start and duration from a presented frame. */
  presented({ mediaTime, presentedFrames }: VideoFrameCallbackMetadata): void {
    const duration = mediaTime - (this.frameStart ?? mediaTime);
    // Frames are not consecutive after a seek. At a higher playback rate, not every frame is presented.
    const isConsecutive =
      presentedFrames === this.presentedFrames + 1 && !this.hasSeeked && this.video.playbackRate <= 1;
    if (isConsecutive && duration > EPSILON_S && duration < FRAME_MAX_S) {
      this.frameDuration = Math.min(duration, this.frameDuration ?? duration);
    }
    this.frameStart = mediaTime;
    this.presentedFrames = presentedFrames;
    this.hasSeeked = false;
  }

  /** Pause, and show the frame that is so many further, or earlier if negative. */
  async step(frames: number): Promise<void> {
    this.video.pause();
    this.pending += frames;
    if (this.isStepping) return;
    this.isStepping = true;
    while (this.pending !== 0 && !this.signal.aborted) {
      const by = this.pending;
      this.pending = 0;
      await this.stepBy(by);
    }
    this.isStepping = false;
  }

  private async stepBy(frames: number): Promise<void> {
    const from = this.frameStart ?? this.video.currentTime;
    if (this.frameDuration !== null) {
      // A browser clamps a position just before the buffer to the start of it. Seek again when more is loaded.
      const position = from + (frames + 0.5) * this.frameDuration;
      for (let tries = 0; tries < LOAD_MS / PRESENT_MS; tries++) if (await this.seek(position, from)) return;
      return;
    }
    // The duration is unknown. One step measures it, and the others follow.
    const one = Math.sign(frames);
    this.pending += frames - one;
    let duration = FRAME_S;
    for (let tries = 0; tries < TRIES; tries++, duration *= 2) {
      // The previous frame ends just before this one. The next one is found if this one lasts no longer than assumed.
      const position = one < 0 ? from - EPSILON_S : from + 1.5 * duration;
      if (await this.seek(position, from)) break;
    }
    if (this.frameStart !== null && this.frameStart !== from) this.frameDuration = Math.abs(this.frameStart - from);
  }

  /** Seek to a media time. True when a frame other than the one at `from` is presented, false if none is. */
  private async seek(position: number, from: number): Promise<boolean> {
    const { video } = this;
    video.currentTime = Math.max(0, position);
    // A frame that starts later is at another position: the nearest one that is loaded.
    const isPresented = () =>
      !video.seeking &&
      this.frameStart !== null &&
      Math.abs(this.frameStart - from) > EPSILON_S &&
      this.frameStart <= Math.max(0, position) + EPSILON_S;
    // Loading takes time. A frame in the buffer is presented soon or never.
    for (let waited = 0; waited < LOAD_MS && (video.seeking || waited < PRESENT_MS); waited += POLL_MS) {
      if (isPresented()) return true;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return isPresented();
  }
}
