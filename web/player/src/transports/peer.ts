// Close an RTCPeerConnection so that the browser frees it.

/** By then all has changed that will, or the gateway is out of reach. */
const CHANGE_TIMEOUT_MS = 3000;

/** What `connectionState` is, or is about to be, once ICE has an outcome. */
const STATE_AFTER_ICE: Partial<Record<RTCIceConnectionState, RTCPeerConnectionState>> = {
  connected: "connected",
  completed: "connected",
  disconnected: "disconnected",
  failed: "failed",
};

const closing = new WeakSet<RTCPeerConnection>();

/**
 * Close a connection that nobody needs any more. Its other listeners are removed, because they refer to the video and the
 * page. `isAnswered`: it has the answer to its offer, or is about to. A second call changes nothing.
 *
 * Chromium never frees a connection that is closed while an event about `connectionState` or `iceGatheringState` waits in
 * its queue of events: the queue is not emptied, and what is in it refers to the connection. So a connection of which such
 * an event is to come is closed in it. All other events, those of candidates too, are dispatched past that queue: at such a
 * moment it may hold something.
 */
export function closePeer(peer: RTCPeerConnection, isAnswered: boolean): void {
  if (closing.has(peer)) return;
  closing.add(peer);
  peer.ontrack = peer.onconnectionstatechange = null;
  const end = new AbortController();
  const close = () => {
    end.abort();
    clearTimeout(timer);
    peer.close();
  };
  for (const name of ["connectionstatechange", "icegatheringstatechange"])
    peer.addEventListener(name, close, { signal: end.signal });
  const isConnecting = isAnswered && STATE_AFTER_ICE[peer.iceConnectionState] !== peer.connectionState;
  const isChanging = isConnecting || peer.iceGatheringState !== "complete";
  // On a page that was busy, what is in the queue by now goes first.
  const closeNext = () => {
    timer = setTimeout(close);
  };
  let timer = setTimeout(closeNext, isChanging ? CHANGE_TIMEOUT_MS : 0);
}
