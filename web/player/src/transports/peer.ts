// Close an RTCPeerConnection so that the browser frees it.

/** By then all has changed that will, or the gateway is out of reach. */
const CHANGE_TIMEOUT_MS = 3000;

/**
 * Close a connection that nobody needs any more.
 *
 * Chromium never frees a connection that is closed between a change of its state and the event about it: the event, which
 * is not dispatched any more, refers to the connection. So a connection that is being made is closed in its next event.
 * Its other listeners are removed, because they refer to the video and the page. `isAnswered`: it has the answer to its
 * offer, or is about to.
 */
export function closePeer(peer: RTCPeerConnection, isAnswered: boolean): void {
  const end = new AbortController();
  const close = () => {
    end.abort();
    clearTimeout(timer);
    peer.close();
  };
  peer.ontrack = peer.onconnectionstatechange = null;
  const isConnecting = isAnswered && ["new", "connecting"].includes(peer.connectionState);
  const isChanging = isConnecting || peer.iceGatheringState !== "complete";
  const timer = isChanging ? setTimeout(close, CHANGE_TIMEOUT_MS) : undefined;
  if (!isChanging) close();
  else
    for (const name of ["connectionstatechange", "icegatheringstatechange", "icecandidate"])
      peer.addEventListener(name, close, { signal: end.signal });
}
