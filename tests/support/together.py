"""What the tiles of several cameras on one clock show: frames of ``two_hours.repeated``, by their numbers."""

from tests.support.two_hours import GREYS

FPS = 20
"""A frame of each grey lasts 50 ms; the greys begin anew every 10 s."""

SHOWN = """
() => {
  // The number of the frame that each tile shows, of 200; null where it shows none. All are read at one moment.
  const numberOf = (tile) => {
    const video = tile.querySelector(".followed:not(.none) video.shown");
    if (!video || !tile.querySelector(".gap").hidden) return null;
    const context = new OffscreenCanvas(16, 16).getContext("2d");
    context.drawImage(video, 0, 0, 16, 16);
    return Math.round((context.getImageData(8, 8, 1, 1).data[0] * 219) / 255 + 16 - 20);
  };
  return [...document.querySelectorAll(".together .tile")].map(numberOf);
}
"""


def apart_ms(numbers: list[int]) -> float:
    """How far the pictures of several cameras are apart, as far as their greys tell: up to 5 s."""
    return max(min((one - two) % GREYS, (two - one) % GREYS) * 1000 / FPS for one in numbers for two in numbers)
