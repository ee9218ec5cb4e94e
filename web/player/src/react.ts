// Entry point of @liveedge/player/react: the element as a component, for React 18 and 19.
//
// React 18 sets only attributes of a custom element, React 19 properties too, and neither removes what is left out later.
// So the component sets the attributes, and adds the listeners.

import {
  createElement,
  forwardRef,
  type HTMLAttributes,
  useEffect,
  useImperativeHandle,
  useLayoutEffect,
  useRef,
} from "react";
import type { LiveEdgePlayer as Player, PlayerState, RenditionRequest, Statistics, TransportName } from "./index.ts";
import "./index.ts";

export interface LiveEdgePlayerProps extends Omit<HTMLAttributes<Player>, "children" | "lang"> {
  /** Id of the camera; by default `default`. */
  camera?: string | undefined;
  /** URL of the gateway; by default the origin of the page. */
  src?: string | undefined;
  /** The transports that may be used; by default all. */
  transports?: readonly TransportName[] | undefined;
  signaling?: "whep" | "socketio" | undefined;
  /** Bearer token, if the gateway requires one. */
  token?: string | undefined;
  /** No sound; true by default. */
  muted?: boolean | undefined;
  rendition?: RenditionRequest | undefined;
  /** Show buttons for sound and full screen. */
  controls?: boolean | undefined;
  /** Show a button to talk to the camera. */
  talk?: boolean | undefined;
  /** Zoom the picture by fingers, wheel and keys. */
  zoom?: boolean | undefined;
  lang?: "en" | "ko" | undefined;
  /** The state has changed in more than its latency. */
  onStateChange?: ((state: PlayerState) => void) | undefined;
  /** Once a second during playback. */
  onStatistics?: ((statistics: Statistics) => void) | undefined;
}

const ATTRIBUTES = ["camera", "src", "signaling", "token", "rendition", "lang"] as const;

// React 18 warns of layout effects on a server. There are no effects.
const useAttributes = typeof document === "undefined" ? useEffect : useLayoutEffect;

/** `<live-edge-player>`. The ref is the element, with its methods. */
export const LiveEdgePlayer = forwardRef<Player, LiveEdgePlayerProps>(function LiveEdgePlayer(props, ref) {
  const { camera, src, transports, signaling, token, muted, rendition, controls, talk, zoom, lang, ...rest } = props;
  const { className, onStateChange, onStatistics, ...html } = rest;
  const element = useRef<Player>(null);
  const listeners = useRef({ onStateChange, onStatistics });
  useImperativeHandle(ref, () => element.current as Player, []);
  useAttributes(() => {
    listeners.current = { onStateChange, onStatistics };
    const given = { camera, src, signaling, token, rendition, lang };
    for (const name of ATTRIBUTES) setAttribute(element.current, name, given[name]);
    setAttribute(element.current, "transports", transports?.join(" "));
    setAttribute(element.current, "muted", muted === undefined ? undefined : String(muted));
    setAttribute(element.current, "controls", controls ? "" : undefined);
    setAttribute(element.current, "talk", talk ? "" : undefined);
    setAttribute(element.current, "zoom", zoom ? "" : undefined);
  });
  useEffect(() => {
    const player = element.current;
    if (!player) return;
    const ending = new AbortController();
    const { signal } = ending;
    player.addEventListener("statechange", ({ detail }) => listeners.current.onStateChange?.(detail), { signal });
    player.addEventListener("statistics", ({ detail }) => listeners.current.onStatistics?.(detail), { signal });
    // The state of before there was a listener.
    listeners.current.onStateChange?.(player.state);
    return () => ending.abort();
  }, []);
  return createElement("live-edge-player", { ...html, class: className, ref: element });
});

function setAttribute(element: Player | null, name: string, value: string | undefined): void {
  if (value === undefined) element?.removeAttribute(name);
  else if (element?.getAttribute(name) !== value) element?.setAttribute(name, value);
}
