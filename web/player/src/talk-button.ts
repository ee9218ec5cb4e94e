// The push-to-talk button: the camera hears the microphone while it is held, and the player is silent meanwhile.

import { type Api, ApiError } from "./core/api.ts";
import { type Language, type MessageKey, translate } from "./core/i18n.ts";
import { icon } from "./icons.ts";
import { createPart } from "./overlay.ts";
import { MicrophoneError, openMicrophone, TalkSession } from "./transports/talk.ts";

/** A microphone that took so long was asked for: the button was released to answer. */
const PROMPT_MS = 1000;
/** What went wrong stays so long. */
const MESSAGE_MS = 6000;

export type TalkState = "idle" | "starting" | "talking";

export interface TalkHost {
  readonly api: Api;
  readonly camera: string;
  readonly language: Language;
  /** The state has changed. While it is not idle, the player has to be silent. */
  changed(state: TalkState): void;
}

export class TalkButton {
  readonly element = createPart("div", "talk");
  state: TalkState = "idle";
  private readonly button = document.createElement("button");
  private readonly message = createPart("span", "talk-message");
  private press: AbortController | null = null;
  private messageTimer = 0;

  constructor(private readonly host: TalkHost) {
    const { button, message } = this;
    this.element.hidden = true;
    message.setAttribute("role", "status");
    button.type = "button";
    button.append(icon("microphone"));
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.begin();
    });
    button.addEventListener("lostpointercapture", () => this.end());
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation(); // of the page, where it plays and pauses
      if (!event.repeat) this.begin();
    });
    button.addEventListener("keyup", (event) => {
      if (event.key === "Enter" || event.key === " ") this.end();
    });
    button.addEventListener("blur", () => this.end());
    // A finger that is held would open a menu.
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("click", (event) => event.stopPropagation());
    this.element.append(message, button);
    this.show();
  }

  /** Show the button if the camera can be talked to by the holder of this token. */
  async look(signal: AbortSignal): Promise<void> {
    const { api, camera } = this.host;
    try {
      const { headers } = await api.fetch(`/talk/${encodeURIComponent(camera)}`, { method: "OPTIONS", signal });
      this.element.hidden = signal.aborted || !headers.get("Allow")?.includes("POST");
    } catch {
      // No permission, or no answer: there is nothing to hold.
    }
  }

  hide(): void {
    this.end();
    this.element.hidden = true;
  }

  /** In another language. */
  show(): void {
    const { button, host, state } = this;
    button.ariaLabel = button.title = translate(host.language, "talk");
    button.ariaPressed = String(state !== "idle");
    this.element.dataset.state = state;
    if (state !== "idle") this.tell(state === "talking" ? "talkNow" : "talkStarting");
  }

  end(): void {
    this.press?.abort();
    this.press = null;
  }

  private begin(): void {
    if (this.press) return;
    const press = new AbortController();
    this.press = press;
    void this.talk(press);
  }

  private async talk(press: AbortController): Promise<void> {
    const { signal } = press;
    const { api, camera } = this.host;
    let stream: MediaStream | null = null;
    let session: TalkSession | null = null;
    let reason = "";
    const pressed = performance.now();
    this.change("starting");
    try {
      stream = await openMicrophone();
      if (signal.aborted && performance.now() - pressed > PROMPT_MS) {
        this.tell("talkAgain");
        return;
      }
      signal.throwIfAborted();
      session = await TalkSession.open(api, camera, stream, signal, (why) => {
        reason = why;
        press.abort();
      });
      signal.throwIfAborted();
      this.change("talking");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      this.tell(reason ? "talkEnded" : null, { reason });
    } catch (error) {
      if (signal.aborted) this.tell(null);
      else this.explain(error);
    } finally {
      session?.close();
      for (const track of stream?.getTracks() ?? []) track.stop();
      if (this.press === press) this.press = null;
      // The next press may have begun.
      if (this.press === null) this.change("idle");
    }
  }

  private explain(error: unknown): void {
    if (error instanceof MicrophoneError) this.tell(error.key);
    else if (error instanceof ApiError && error.code === "talk_busy") this.tell("talkBusy");
    else this.tell("talkFailed", { reason: error instanceof ApiError ? error.message : "" });
  }

  private change(state: TalkState): void {
    if (state === this.state) return;
    this.state = state;
    this.show();
    clearTimeout(this.messageTimer);
    if (state === "idle") this.messageTimer = window.setTimeout(() => this.tell(null), MESSAGE_MS);
    this.host.changed(state);
  }

  private tell(key: MessageKey | null, values: Record<string, string> = {}): void {
    this.message.textContent = key === null ? "" : translate(this.host.language, key, values).trim();
  }
}
