// Toggles full screen. On an iPhone only a <video> can fill the screen, with the buttons of the system.

interface AppleVideo extends Element {
  webkitEnterFullscreen?: () => void;
}

export function toggleFullscreen(element: Element, surface: AppleVideo | null): void {
  if (document.fullscreenElement) void document.exitFullscreen();
  else if (typeof element.requestFullscreen === "function") void element.requestFullscreen().catch(() => {});
  else surface?.webkitEnterFullscreen?.();
}
