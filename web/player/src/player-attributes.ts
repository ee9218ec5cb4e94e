// The attributes of the player that are properties, too.

import { Api } from "./core/api.ts";
import { LANGUAGES, type Language, pickLanguage } from "./core/i18n.ts";
import { parseRendition, type RenditionRequest } from "./core/rendition.ts";
import { TRANSPORTS, type TransportName } from "./core/transports.ts";

// A server that renders pages (React, Vue) imports the class too, and has no DOM.
const BaseElement: typeof HTMLElement = globalThis.HTMLElement ?? class {};

export const PROPERTIES = ["camera", "src", "transports", "token", "muted", "rendition"] as const;

export class PlayerAttributes extends BaseElement {
  /** URL of the gateway for players without `src`. */
  static defaultSrc = "";

  /** The id of the camera. */
  get camera(): string {
    return this.getAttribute("camera") ?? "default";
  }
  set camera(value: string) {
    this.setAttribute("camera", value);
  }

  /** URL of the gateway. */
  get src(): string {
    const { defaultSrc } = this.constructor as typeof PlayerAttributes;
    const src = this.getAttribute("src") ?? (defaultSrc || location.origin);
    return new URL(src, document.baseURI).href.replace(/\/$/, "");
  }
  set src(value: string) {
    this.setAttribute("src", value);
  }

  /** The transports that may be used, best first. */
  get transports(): readonly TransportName[] {
    const names = (this.getAttribute("transports") ?? "").split(/[\s,]+/);
    const known = TRANSPORTS.filter((transport) => names.includes(transport));
    return known.length > 0 ? known : TRANSPORTS;
  }
  set transports(value: readonly TransportName[]) {
    this.setAttribute("transports", value.join(" "));
  }

  /** A bearer token, if the gateway requires one. */
  get token(): string | null {
    return this.getAttribute("token");
  }
  set token(value: string | null) {
    if (value === null) this.removeAttribute("token");
    else this.setAttribute("token", value);
  }

  /** No sound. */
  get muted(): boolean {
    return this.getAttribute("muted") !== "false";
  }
  set muted(value: boolean) {
    this.setAttribute("muted", String(value));
  }

  /** The stream of the camera: `auto` chooses by the size of the video and the network, `main` and `sub` pin one. */
  get rendition(): RenditionRequest {
    return parseRendition(this.getAttribute("rendition"));
  }
  set rendition(value: RenditionRequest) {
    this.setAttribute("rendition", value);
  }

  protected get api(): Api {
    return new Api(this.src, this.token, this.language);
  }

  protected get language(): Language {
    const wanted = this.getAttribute("lang") ?? "";
    return wanted in LANGUAGES ? (wanted as Language) : pickLanguage(navigator.languages);
  }

  /** A property that was set before the element was defined shadows the accessor of the class: set it again. */
  protected upgradeProperties(): void {
    for (const name of PROPERTIES) {
      if (!Object.hasOwn(this, name)) continue;
      const value: unknown = this[name];
      delete (this as Record<string, unknown>)[name];
      Object.assign(this, { [name]: value });
    }
  }
}
