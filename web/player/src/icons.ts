// Icons, as strokes in a 24-pixel square.

const PATHS = {
  play: "M7 5l12 7-12 7z",
  pause: "M8 5v14M16 5v14",
  mute: "M5 9v6h4l5 4V5L9 9zM18 9l4 6M22 9l-4 6",
  sound: "M5 9v6h4l5 4V5L9 9zM18 8.5a5 5 0 010 7M20.5 6a9 9 0 010 12",
  microphone: "M12 14a3 3 0 003-3V6a3 3 0 00-6 0v5a3 3 0 003 3zM6 11a6 6 0 0012 0M12 17v4",
  fullscreen: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  pictureInPicture: "M3 5h18v14H3zM12 12h9v7h-9z",
  back: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  stepBack: "M16 6l-8 6 8 6zM6 6v12",
  stepForward: "M8 6l8 6-8 6zM18 6v12",
  activityNext: "M3 17l3-7 4 9 3-6M15 6l6 6-6 6",
  activityBack: "M21 17l-3-7-4 9-3-6M9 6l-6 6 6 6",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  lock: "M6 11h12v9H6zM9 11V7a3 3 0 016 0v4",
  unlock: "M6 11h12v9H6zM9 11V7a3 3 0 015.7-1.3",
  camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 16.5a3.5 3.5 0 100-7 3.5 3.5 0 000 7z",
  cut: "M6 8a2.5 2.5 0 100-5 2.5 2.5 0 000 5zM6 21a2.5 2.5 0 100-5 2.5 2.5 0 000 5zM8 7l12 11M8 17L20 6",
  close: "M6 6l12 12M18 6L6 18",
  help: "M9 9a3 3 0 114.2 2.7c-.9.5-1.2 1-1.2 2.3M12 17.5v.2M12 21a9 9 0 100-18 9 9 0 000 18z",
  up: "M5 15l7-7 7 7",
  down: "M5 9l7 7 7-7",
  home: "M4 11l8-7 8 7M6 10v10h12V10",
  center: "M12 3v5M12 16v5M3 12h5M16 12h5M12 12v.1",
  add: "M12 5v14M5 12h14",
  calendar: "M4 6h16v14H4zM4 10h16M8 3v4M16 3v4",
  link: "M10 14a4 4 0 005.7 0l3-3A4 4 0 0013 5.3l-1 1M14 10a4 4 0 00-5.7 0l-3 3a4 4 0 005.7 5.7l1-1",
  together: "M3 4h8v7H3zM13 4h8v7h-8zM3 17h18M8 14v6",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  wall: "M3 4h8v7H3zM13 4h8v7h-8zM3 13h8v7H3zM13 13h8v7h-8z",
  qualityAuto: "M4 17V7M9.3 17v-4M14.7 17v-7M20 17V7",
  qualityMain: "M3 5h18v14H3z",
  qualitySub: "M3 5h18v14H3zM12 12h7v5h-7z",
  markIn: "M14 5H9v14h5M20 12h-7M16 9l-3 3 3 3",
  markOut: "M10 5h5v14h-5M4 12h7M8 9l3 3-3 3",
  zoomIn: "M11 18a7 7 0 100-14 7 7 0 000 14zM16 16l5 5M8 11h6M11 8v6",
  zoomOut: "M11 18a7 7 0 100-14 7 7 0 000 14zM16 16l5 5M8 11h6",
  export: "M12 15V4M7 9l5-5 5 5M5 13v7h14v-7",
  bell: "M6 17v-6a6 6 0 0112 0v6l2 2H4zM10 21.5h4",
  share: "M10 14a4 4 0 006 .4l3-3a4 4 0 00-5.7-5.7l-1 1M14 10a4 4 0 00-6-.4l-3 3a4 4 0 005.7 5.7l1-1",
  key: "M8 16a4 4 0 100-8 4 4 0 000 8zM12 12h9v4M17 12v3",
  globe: "M12 21a9 9 0 100-18 9 9 0 000 18zM3 12h18M12 3c4 4 4 14 0 18M12 3c-4 4-4 14 0 18",
  signOut: "M10 4H5v16h5M14 8l4 4-4 4M18 12H9",
  remove: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
} as const;

export type Icon = keyof typeof PATHS;

/** A decorative icon: the element around it has the accessible name. */
export function icon(name: Icon): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
