"""Read the clock in pictures in a browser: ``gateway.capture.engines.timecode`` in JavaScript."""

from gateway.capture.engines.timecode import COLUMNS, HEIGHT, ROWS

READER = f"""
(() => {{
  const columns = {COLUMNS}, rows = {ROWS}, height = {HEIGHT};
  const canvas = document.createElement("canvas");
  canvas.width = columns * 4; canvas.height = rows * 4;
  const context = canvas.getContext("2d", {{ willReadFrequently: true }});
  const check = (bytes) => {{
    let crc = 0xffff;
    for (const byte of bytes) {{
      crc ^= byte << 8;
      for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
    }}
    return crc;
  }};
  return (surface) => {{
    const wide = surface.videoWidth ?? surface.width, high = surface.videoHeight ?? surface.height;
    if (!wide || !high) return null;
    const top = high * (1 - height);
    context.drawImage(surface, 0, top, wide, high - top, 0, 0, canvas.width, canvas.height);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const bytes = new Uint8Array(8);
    for (let bit = 0; bit < columns * rows; bit++) {{
      const x = (bit % columns) * 4 + 2, y = Math.floor(bit / columns) * 4 + 2;
      if (pixels[(y * canvas.width + x) * 4] > 83) bytes[bit >> 3] |= 0x80 >> (bit & 7);
    }}
    if (check(bytes.slice(0, 6)) !== (bytes[6] << 8 | bytes[7])) return null;
    return bytes.slice(0, 6).reduce((sum, byte) => sum * 256 + byte, 0);
  }};
}})()
"""
"""A function of a ``<video>`` or ``<canvas>``: when its picture was made, in ms since the Unix epoch, or ``null``."""
