// The buttons of a player with the attribute `controls`: which there are, and what they do.

import type { Language } from "./core/i18n.ts";
import { nextRendition, type RenditionRequest } from "./core/rendition.ts";
import type { DigitalZoom } from "./digital-zoom.ts";
import { toggleFullscreen } from "./fullscreen.ts";
import type { Button, Overlay } from "./overlay.ts";
import { canFloat, toggleFloating } from "./picture-in-picture.ts";

const QUALITY = { auto: "qualityAuto", main: "qualityMain", sub: "qualitySub" } as const;

/** What the buttons show and change: the player. */
export interface ControlledPlayer extends HTMLElement {
  muted: boolean;
  rendition: RenditionRequest;
  readonly surface: HTMLVideoElement | HTMLCanvasElement | null;
}

export class ControlButtons {
  /** Whether the camera has a sub stream, so that there is something to choose. */
  private hasChoice = false;
  private canFloat = false;

  constructor(
    private readonly player: ControlledPlayer,
    private readonly root: ShadowRoot,
    private readonly overlay: Overlay,
    private readonly zoom: DigitalZoom,
    private readonly language: () => Language,
  ) {}

  /** The surface is another one, perhaps, and so many streams can be chosen. */
  setChoice(streams: number): void {
    const hasChoice = streams > 1;
    const isVideo = canFloat(this.player.surface);
    if (hasChoice === this.hasChoice && isVideo === this.canFloat) return;
    this.hasChoice = hasChoice;
    this.canFloat = isVideo;
    this.update();
  }

  /** An attribute or the zoom has changed. */
  update(): void {
    this.overlay.setControls(this.language(), this.player.hasAttribute("controls") ? this.buttons() : []);
  }

  private buttons(): Button[] {
    const { player, root, zoom } = this;
    const toggleMuted = () => {
      player.muted = !player.muted;
    };
    const quality = QUALITY[player.rendition];
    const nextQuality = () => {
      player.rendition = nextRendition(player.rendition);
    };
    const buttons: Button[] = this.hasChoice ? [[quality, quality, nextQuality]] : [];
    if (player.hasAttribute("zoom")) buttons.push(["zoomIn", "zoomIn", () => zoom.in()]);
    if (zoom.scale > 1) buttons.push(["zoomOut", "zoomOut", () => zoom.out()]);
    if (this.canFloat)
      buttons.push(["pictureInPicture", "pictureInPicture", () => toggleFloating(root, player.surface)]);
    buttons.push(
      [player.muted ? "mute" : "sound", player.muted ? "unmute" : "mute", toggleMuted],
      ["fullscreen", "fullscreen", () => toggleFullscreen(player, player.surface)],
    );
    return buttons;
  }
}
