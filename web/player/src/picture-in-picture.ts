// Picture-in-picture: the video of one player in a small window above all others. A change of the transport, or from live
// to a recording, changes the video; the window shows the new one then.

/** Whether this surface can be shown in such a window. A canvas cannot. */
export function canFloat(surface: Element | null): surface is HTMLVideoElement {
  return surface instanceof HTMLVideoElement && document.pictureInPictureEnabled;
}

/** Open the window, or close it. Browsers allow the first only after an action of the user. */
export function toggleFloating(root: ShadowRoot, surface: Element | null): void {
  if (root.pictureInPictureElement) void document.exitPictureInPicture().catch(() => {});
  else if (canFloat(surface)) void surface.requestPictureInPicture().catch(() => {});
}

/** The window shows this surface from now on, if it shows one of the player's others. */
export function keepFloating(root: ShadowRoot, surface: Element): void {
  const floating = root.pictureInPictureElement;
  if (floating && floating !== surface && canFloat(surface)) void surface.requestPictureInPicture().catch(() => {});
}
