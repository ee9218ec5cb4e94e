// The files of a ZIP (APPNOTE.TXT 6.3.10): stored, as exports are, or deflated, as somebody packs one again. Only the
// directory and the headers are read.

const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const END_BYTES = 22;
const END_MAX_BYTES = END_BYTES + 65_535;
const LOCATOR_BYTES = 20;
const DIRECTORY_MAX_BYTES = 64 << 20;
const NONE_32 = 0xffffffff;
const STORED = 0;
const DEFLATED = 8;

/** The file is no ZIP that can be read. */
export class ZipError extends Error {}

/** A file in a ZIP. A stream of one that is damaged fails. */
export type ZipFile = Pick<Blob, "size" | "stream">;

interface Entry {
  name: string;
  size: number;
  packed: number;
  offset: number;
  isDeflated: boolean;
}

async function view(blob: Blob, from: number, to: number): Promise<DataView> {
  return new DataView(await blob.slice(from, to).arrayBuffer());
}

function u64(data: DataView, at: number): number {
  return data.getUint32(at + 4, true) * 2 ** 32 + data.getUint32(at, true);
}

/** The files by name, without folders. Throws ZipError. */
export async function filesOf(zip: Blob): Promise<Map<string, ZipFile>> {
  try {
    const files = new Map<string, ZipFile>();
    for (const entry of await entriesOf(zip)) {
      if (entry.name.endsWith("/") && entry.size === 0) continue;
      const local = await view(zip, entry.offset, entry.offset + 30);
      if (local.getUint32(0, true) !== LOCAL) throw new ZipError();
      const nameAt = entry.offset + 30;
      const extraAt = nameAt + local.getUint16(26, true);
      // Some programs read this name, and others that of the directory.
      const name = await zip.slice(nameAt, extraAt).text();
      if (name !== entry.name || files.has(name)) throw new ZipError();
      const start = extraAt + local.getUint16(28, true);
      files.set(name, fileOf(zip.slice(start, start + entry.packed), entry));
    }
    return files;
  } catch (error) {
    if (error instanceof RangeError) throw new ZipError();
    throw error;
  }
}

function fileOf(packed: Blob, { size, isDeflated }: Entry): ZipFile {
  if (!isDeflated) return packed;
  return {
    size,
    stream: () => packed.stream().pipeThrough(new DecompressionStream("deflate-raw")).pipeThrough(upTo(size)),
  };
}

/** Fails where a file is larger than its directory says: it could fill the memory. */
function upTo(size: number): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let left = size;
  return new TransformStream({
    transform(piece, controller) {
      left -= piece.length;
      if (left < 0) controller.error(new ZipError());
      else controller.enqueue(piece);
    },
  });
}

async function entriesOf(zip: Blob): Promise<Entry[]> {
  const tailAt = Math.max(0, zip.size - END_MAX_BYTES);
  const tail = await view(zip, tailAt, zip.size);
  let at = tail.byteLength - END_BYTES;
  while (at >= 0 && tail.getUint32(at, true) !== END) at--;
  if (at < 0) throw new ZipError();
  let count = tail.getUint16(at + 10, true);
  let size = tail.getUint32(at + 12, true);
  let offset = tail.getUint32(at + 16, true);
  const locatorAt = tailAt + at - LOCATOR_BYTES;
  if (locatorAt >= 0) {
    const locator = await view(zip, locatorAt, locatorAt + LOCATOR_BYTES);
    if (locator.getUint32(0, true) === END64_LOCATOR) {
      const end64At = u64(locator, 8);
      const end64 = await view(zip, end64At, end64At + 56);
      if (end64.getUint32(0, true) !== END64) throw new ZipError();
      [count, size, offset] = [u64(end64, 32), u64(end64, 40), u64(end64, 48)];
    }
  }
  if (size > DIRECTORY_MAX_BYTES) throw new ZipError();
  return entriesIn(await view(zip, offset, offset + size), count);
}

function entriesIn(directory: DataView, count: number): Entry[] {
  const entries: Entry[] = [];
  let at = 0;
  for (let number = 0; number < count; number++) {
    if (directory.getUint32(at, true) !== ENTRY) throw new ZipError();
    const method = directory.getUint16(at + 10, true);
    if (method !== STORED && method !== DEFLATED) throw new ZipError();
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) =>
      directory.getUint16(at + field, true),
    ) as [number, number, number];
    const name = new TextDecoder().decode(new Uint8Array(directory.buffer, directory.byteOffset + at + 46, nameLength));
    let size = directory.getUint32(at + 24, true);
    let packed = directory.getUint32(at + 20, true);
    let offset = directory.getUint32(at + 42, true);
    const end = at + 46 + nameLength + extraLength;
    for (let extra = at + 46 + nameLength; extra + 4 <= end; extra += 4 + directory.getUint16(extra + 2, true)) {
      if (directory.getUint16(extra, true) !== 1) continue;
      let field = extra + 4;
      const next = () => {
        field += 8;
        return u64(directory, field - 8);
      };
      if (size === NONE_32) size = next();
      if (packed === NONE_32) packed = next();
      if (offset === NONE_32) offset = next();
    }
    const isDeflated = method === DEFLATED;
    if (!isDeflated && packed !== size) throw new ZipError();
    entries.push({ name, size, packed, offset, isDeflated });
    at = end + commentLength;
  }
  return entries;
}
