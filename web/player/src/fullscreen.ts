// Full screen, in and out. On an iPhone no element has it but a <video>, with the system's own buttons; a canvas has none.

interface AppleVideo extends Element {
  webkitEnterFullscreen?: () => void;
}

export function toggleFullscreen(element: Element, surface: AppleVideo | null): void {
  if (document.fullscreenElement) void document.exitFullscreen();
  else if (typeof element.requestFullscreen === "function") void element.requestFullscreen().catch(() => {});
  else surface?.webkitEnterFullscreen?.();
}
