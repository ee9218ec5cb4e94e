// The files of a ZIP that is stored and not compressed, as exports are (APPNOTE.TXT 6.3.10). Only the directory is read.

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

/** The file is no ZIP that can be read. */
export class ZipError extends Error {}

interface Entry {
  name: string;
  size: number;
  offset: number;
}

async function view(blob: Blob, from: number, to: number): Promise<DataView> {
  return new DataView(await blob.slice(from, to).arrayBuffer());
}

function u64(data: DataView, at: number): number {
  return data.getUint32(at + 4, true) * 2 ** 32 + data.getUint32(at, true);
}

/** The files by name, each as a part of the ZIP. Throws ZipError. */
export async function filesOf(zip: Blob): Promise<Map<string, Blob>> {
  try {
    const files = new Map<string, Blob>();
    for (const entry of await entriesOf(zip)) {
      const local = await view(zip, entry.offset, entry.offset + 30);
      if (local.getUint32(0, true) !== LOCAL) throw new ZipError();
      const start = entry.offset + 30 + local.getUint16(26, true) + local.getUint16(28, true);
      if (files.has(entry.name)) throw new ZipError();
      files.set(entry.name, zip.slice(start, start + entry.size));
    }
    return files;
  } catch (error) {
    if (error instanceof RangeError) throw new ZipError();
    throw error;
  }
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
    // Of something else than an export: a method of compression.
    if (directory.getUint16(at + 10, true) !== 0) throw new ZipError();
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
    if (packed !== size) throw new ZipError();
    entries.push({ name, size, offset });
    at = end + commentLength;
  }
  return entries;
}
