import { beforeAll, describe, expect, it } from "vitest";
import { keyId, type SignedRecord, verifyExport, verifyInBrowser } from "../src/core/evidence.ts";
import { hashOf, Sha256 } from "../src/core/sha256.ts";
import { filesOf, ZipError } from "../src/core/zip.ts";

const encoder = new TextEncoder();

const hex = (data: ArrayBuffer) => [...new Uint8Array(data)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const base64 = (data: ArrayBuffer) => btoa(String.fromCharCode(...new Uint8Array(data)));
const digest = (text: string) => new Sha256().update(encoder.encode(text)).digest();

describe("SHA-256", () => {
  it("is that of Web Crypto, for every length of a last block and however the data come", async () => {
    const data = Uint8Array.from({ length: 200 }, (_, index) => (index * 7) & 255);
    for (let length = 0; length <= data.length; length++) {
      const part = data.slice(0, length);
      const expected = hex(await crypto.subtle.digest("SHA-256", part));
      expect(new Sha256().update(part).digest()).toBe(expected);
      const cut = Math.floor(length / 3);
      expect(new Sha256().update(part.subarray(0, cut)).update(part.subarray(cut)).digest()).toBe(expected);
    }
    const large = new Uint8Array(3_000_001).fill(5);
    expect(await hashOf(new Blob([large]))).toBe(hex(await crypto.subtle.digest("SHA-256", large)));
  });
});

/** What a ZIP has other than a file. */
interface Packing {
  /** Sizes and offsets in the extra field of ZIP64. */
  isLarge?: boolean;
  isDeflated?: boolean;
  /** The name in front of the file, where it is not that of the directory. */
  localName?: string;
}

async function deflated(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([data]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function zipOf(files: [string, Uint8Array<ArrayBuffer>][], packing: Packing = {}): Promise<Blob> {
  const { isLarge = false, isDeflated = false } = packing;
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  for (const [name, whole] of files) {
    const data = isDeflated ? await deflated(whole) : whole;
    const entryName = encoder.encode(name);
    const localName = encoder.encode(packing.localName ?? name);
    const local = new DataView(new ArrayBuffer(30 + localName.length));
    local.setUint32(0, 0x04034b50, true);
    local.setUint16(26, localName.length, true);
    new Uint8Array(local.buffer).set(localName, 30);
    const extra = isLarge ? 28 : 0;
    const entry = new DataView(new ArrayBuffer(46 + entryName.length + extra));
    entry.setUint32(0, 0x02014b50, true);
    entry.setUint16(10, isDeflated ? 8 : 0, true);
    entry.setUint32(20, isLarge ? 0xffffffff : data.length, true);
    entry.setUint32(24, isLarge ? 0xffffffff : whole.length, true);
    entry.setUint32(42, isLarge ? 0xffffffff : offset, true);
    entry.setUint16(28, entryName.length, true);
    entry.setUint16(30, extra, true);
    new Uint8Array(entry.buffer).set(entryName, 46);
    if (isLarge) {
      const at = 46 + entryName.length;
      entry.setUint16(at, 1, true);
      entry.setUint16(at + 2, 24, true);
      for (const [number, value] of [whole.length, data.length, offset].entries())
        entry.setUint32(at + 4 + 8 * number, value, true);
    }
    parts.push(new Uint8Array(local.buffer), data);
    directory.push(new Uint8Array(entry.buffer));
    offset += local.byteLength + data.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, size, true);
  end.setUint32(16, offset, true);
  return new Blob([...parts, ...directory, new Uint8Array(end.buffer)]);
}

let privateKey: CryptoKey;
let pem: string;

beforeAll(async () => {
  const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  privateKey = pair.privateKey;
  pem = `-----BEGIN PUBLIC KEY-----\n${base64(await crypto.subtle.exportKey("spki", pair.publicKey))}\n-----END PUBLIC KEY-----\n`;
});

const sign = (text: string) => crypto.subtle.sign("Ed25519", privateKey, encoder.encode(text));

async function record(number: number, previous: string | null): Promise<SignedRecord> {
  const statement = JSON.stringify({ segment: `segment_${number}`, number, previous, key: keyId(pem) });
  return { statement, signature: base64(await sign(statement)) };
}

async function chain(): Promise<[SignedRecord, SignedRecord]> {
  const first = await record(0, null);
  return [first, await record(1, digest(first.statement))];
}

/** An export, with `changes` of its files. */
async function exportOf(
  changes: Record<string, string | null> = {},
  records?: unknown,
  packing: Packing = {},
  forms: object = {},
): Promise<Blob> {
  const manifest = JSON.stringify({
    type: "liveedge-export",
    version: 1,
    cameras: [
      {
        camera: "door",
        clips: [{ file: "door/a.mp4", sha256: digest("the pictures") }],
        sources: [],
        records: records ?? (await chain()),
      },
    ],
    files: [{ file: "README.txt", sha256: digest("how to") }],
    public_keys: [{ id: keyId(pem), public_key: pem }],
    ...forms,
  });
  const files = new Map<string, Uint8Array<ArrayBuffer>>([
    ["door/a.mp4", encoder.encode("the pictures")],
    ["manifest.json", encoder.encode(manifest)],
    ["manifest.sig", new Uint8Array(await sign(manifest))],
    ["public-key.pem", encoder.encode(pem)],
    ["README.txt", encoder.encode("how to")],
  ]);
  for (const [name, text] of Object.entries(changes)) {
    if (text === null) files.delete(name);
    else files.set(name, encoder.encode(text));
  }
  return await zipOf([...files], packing);
}

async function faultsOf(zip: Blob, own = [keyId(pem)]): Promise<string[]> {
  const findings = await verifyExport(zip, new Set(own), verifyInBrowser);
  return findings.filter(({ isFault }) => isFault).map(({ kind }) => kind);
}

describe("an export", () => {
  it("is right as it was made", async () => {
    const findings = await verifyExport(await exportOf(), new Set([keyId(pem)]), verifyInBrowser);
    expect(findings.map(({ kind }) => kind)).toEqual(["ownKey", "clipRight", "recordsRight"]);
  });

  it("shows what was changed, removed or put in", async () => {
    expect(await faultsOf(await exportOf({ "door/a.mp4": "other" }))).toEqual(["clipChanged"]);
    expect(await faultsOf(await exportOf({ "door/a.mp4": null }))).toEqual(["clipMissing"]);
    expect(await faultsOf(await exportOf({ "door/b.mp4": "other" }))).toEqual(["clipAdded"]);
    expect(await faultsOf(await exportOf({ "README.txt": "Recorded in May." }))).toEqual(["clipChanged"]);
    expect(await faultsOf(await exportOf({ "public-key.pem": `Of the police\n${pem}` }))).toEqual(["notAnExport"]);
    expect(await faultsOf(await exportOf({ "manifest.json": "other" }))).toEqual(["manifestChanged"]);
    expect(await faultsOf(await exportOf({ "manifest.json": null }))).toEqual(["notAnExport"]);
    expect(await faultsOf(await exportOf(), [])).toEqual(["otherKey"]);
  });

  it("is right when somebody has unpacked it and packed it again, with folders, and shows what was changed then", async () => {
    const packing = { isDeflated: true };
    expect(await faultsOf(await exportOf({ "door/": "" }, undefined, packing))).toEqual([]);
    expect(await faultsOf(await exportOf({ "door/a.mp4": "other" }, undefined, packing))).toEqual(["clipChanged"]);
  });

  it("tells what is not in it", async () => {
    const clips = [{ file: "door/a.mp4", sha256: digest("the pictures"), pictures_left_out: 3 }];
    const cameras = [{ camera: "door", name: "정문", clips, sources: [], records: await chain() }];
    const zip = await exportOf({}, undefined, {}, { away: ["east"], cameras });
    const findings = await verifyExport(zip, new Set([keyId(pem)]), verifyInBrowser);
    expect(findings.filter(({ isFault }) => isFault)).toEqual([]);
    const said = findings.map(({ kind, about }) => `${kind} ${about}`);
    expect(said).toContain("nodeAway east");
    expect(said).toContain("picturesLeftOut door/a.mp4: 3");
    expect(said).toContain("cameraName door: 정문");
  });

  it("has names in any language, which change nothing of what is said", async () => {
    const named = async (name: unknown) => {
      const cameras = [{ camera: "door", name, clips: [], sources: [], records: [] }];
      const clip = { file: "door/a.mp4", sha256: digest("the pictures") };
      const zip = await exportOf({}, undefined, {}, { cameras, files: [clip] });
      const findings = await verifyExport(zip, new Set([keyId(pem)]), verifyInBrowser);
      return findings.map(({ kind, about }) => `${kind} ${about}`);
    };
    expect(await named("درب\u200cپشتی")).toContain("cameraName door: درب\u200cپشتی");
    const forged = await named(`\u202e\u2066\x1b[2J\r\nok\u2028\ud800${"x".repeat(5000)}`);
    const [said] = forged.filter((each) => each.startsWith("cameraName"));
    expect(said).toMatch(/^cameraName door: \\u202e\\u2066\\u001b\[2J\\u000d\\u000aok\\u2028\\ud800x+…$/);
    expect(said?.length).toBeLessThan(400);
    expect((await named(null)).join()).not.toContain("cameraName");
    expect(await named({ a: 1 })).toContain("notAnExport ");
  });

  it("says on one line, and in one direction, what others named", async () => {
    const zip = await exportOf({ "door/\u202e4pm.exe": "x" }, undefined, {}, { away: ["e\u2029ast"] });
    const findings = await verifyExport(zip, new Set([keyId(pem)]), verifyInBrowser);
    const said = findings.map(({ kind, about }) => `${kind} ${about}`);
    expect(said).toContain("clipAdded door/\\u202e4pm.exe");
    expect(said).toContain("nodeAway e\\u2029ast");
  });

  it("is none where a signed manifest has another form", async () => {
    for (const forms of [
      { cameras: 5 },
      { cameras: ["door"] },
      { files: 7 },
      { public_keys: [{}] },
      { public_keys: null },
    ])
      expect(await faultsOf(await exportOf({}, undefined, {}, forms))).toContain("notAnExport");
    for (const records of [{ a: 1 }, [{}], [{ statement: "[", signature: "" }], [{ statement: "null", signature: "" }]])
      expect(await faultsOf(await exportOf({}, records))).toContain("notAnExport");
  });

  it("has one name for each file", async () => {
    // Some programs unpack the name of the directory, others that in front of the file.
    expect(await faultsOf(await exportOf({}, undefined, { localName: "door/b.mp4" }))).toEqual(["notAnExport"]);
  });

  it("shows a record that was changed or removed", async () => {
    const [first, second] = await chain();
    const changed = { ...second, statement: second.statement.replace("segment_1", "segment_x") };
    expect(await faultsOf(await exportOf({}, [first, changed]))).toEqual(["recordWrong"]);
    expect(await faultsOf(await exportOf({}, [first, await record(2, digest(second.statement))]))).toEqual([
      "chainBroken",
    ]);
    const deleted = { ...first, deletion: "{}", deletion_signature: first.signature };
    expect(await faultsOf(await exportOf({}, [deleted]))).toEqual(["recordWrong"]);
  });
});

describe("a ZIP", () => {
  it("has its files, also with sizes of 64 bits", async () => {
    for (const isLarge of [false, true]) {
      const files = await filesOf(
        await zipOf(
          [
            ["a", encoder.encode("one")],
            ["b/c", encoder.encode("two")],
          ],
          { isLarge },
        ),
      );
      expect([...files.keys()]).toEqual(["a", "b/c"]);
      expect(await new Response(files.get("b/c")?.stream()).text()).toBe("two");
    }
  });

  it("that is cut, or is none, is refused", async () => {
    const zip = await exportOf();
    for (const size of [0, 10, 200, zip.size - 1]) await expect(filesOf(zip.slice(0, size))).rejects.toThrow(ZipError);
  });
});
