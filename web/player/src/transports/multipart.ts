// Parser of a multipart body (RFC 2046, section 5.1) whose parts have a Content-Length, as the gateway's MJPEG has.

/** No part is larger. Beyond this size, the body is not MJPEG. */
const PART_MAX_BYTES = 16 * 1024 * 1024;

export interface Part {
  headers: Map<string, string>;
  body: Uint8Array<ArrayBuffer>;
}

export async function* multipartParts(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Part> {
  const reader = stream.getReader();
  let buffer = new Uint8Array(0);
  const readMore = async (): Promise<boolean> => {
    const { done, value } = await reader.read();
    if (done) return false;
    if (buffer.length + value.length > PART_MAX_BYTES) throw new RangeError("multipart: part too large");
    const joined = new Uint8Array(buffer.length + value.length);
    joined.set(buffer);
    joined.set(value, buffer.length);
    buffer = joined;
    return true;
  };
  try {
    for (;;) {
      let end = endOfHeaders(buffer);
      while (end < 0) {
        if (!(await readMore())) return;
        end = endOfHeaders(buffer);
      }
      const headers = new Map<string, string>();
      for (const line of new TextDecoder().decode(buffer.subarray(0, end)).split("\r\n")) {
        const colon = line.indexOf(":");
        if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
      }
      const length = Number(headers.get("content-length"));
      if (!Number.isInteger(length) || length <= 0) throw new RangeError("multipart: part without a content length");
      while (buffer.length < end + 4 + length) if (!(await readMore())) return;
      yield { headers, body: buffer.slice(end + 4, end + 4 + length) };
      buffer = buffer.slice(end + 4 + length);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function endOfHeaders(bytes: Uint8Array): number {
  for (let i = 0; i + 3 < bytes.length; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i;
  }
  return -1;
}
