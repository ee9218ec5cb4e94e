// Verify an export, or the file of a recording, in the browser. The format is that of docs/evidence.md.

import { printable } from "./printable.ts";
import { hashOf, Sha256 } from "./sha256.ts";
import { filesOf, type ZipFile } from "./zip.ts";

export interface SignedRecord {
  statement: string;
  signature: string;
  deletion?: string | null;
  deletion_signature?: string | null;
}

interface Manifest {
  type: string;
  version: number;
  start: string;
  end: string;
  cameras: {
    camera: string;
    /** What people called it. */
    name?: string | null;
    /** `pictures_left_out`: how many could not be decoded where the time was burned in. */
    clips: { file: string; sha256: string; pictures_left_out?: number }[];
    sources: { segment: string; state: string }[];
    records: SignedRecord[];
  }[];
  /** Files beside the clips. */
  files?: { file: string; sha256: string }[];
  public_keys: { id: string; public_key: string }[];
  /** Nodes of a cluster that were away: what they recorded is not in it. */
  away?: string[];
}

/** What there is to say. The page has a sentence for each `kind`. */
export interface Finding {
  kind:
    | "notAnExport"
    | "manifestChanged"
    | "ownKey"
    | "otherKey"
    | "clipRight"
    | "clipChanged"
    | "clipMissing"
    | "clipAdded"
    | "sourceChanged"
    | "sourceMissing"
    | "sourceUnsigned"
    | "cameraName"
    | "nodeAway"
    | "picturesLeftOut"
    | "recordsRight"
    | "recordWrong"
    | "chainBroken"
    | "deleted"
    | "fileRight"
    | "fileUnknown";
  about: string;
  isFault: boolean;
}

/** Whether a signature (Base64) of a text is that of a key in PEM. */
export type VerifySignature = (pem: string, signature: string, data: Uint8Array<ArrayBuffer>) => Promise<boolean>;

/** Files that a manifest need not name. */
const UNLISTED = new Set(["manifest.json", "manifest.sig", "public-key.pem", "README.txt"]);
/** Of files beside the clips, all of them together, bytes. */
const SMALL_MAX_BYTES = 256 << 20;

/** Of a camera's name that is shown. A gateway gives it fewer; a manifest may be anybody's. */
const NAME_MAX = 200;

const FAULTS: Record<string, Finding["kind"]> = { changed: "sourceChanged", missing: "sourceMissing" };

/** Whether the browser verifies Ed25519: not on a page over plain HTTP, and not before Chromium 137. */
export async function canVerify(): Promise<boolean> {
  try {
    await crypto.subtle.importKey("raw", new Uint8Array(32), "Ed25519", false, ["verify"]);
    return true;
  } catch {
    return false;
  }
}

export const verifyInBrowser: VerifySignature = async (pem, signature, data) => {
  const key = await crypto.subtle.importKey(
    "spki",
    fromBase64(pem.replace(/-----[^-]+-----|\s/g, "")),
    "Ed25519",
    false,
    ["verify"],
  );
  return crypto.subtle.verify("Ed25519", key, fromBase64(signature), data);
};

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function toBase64(data: Uint8Array): string {
  return btoa(String.fromCharCode(...data));
}

/** The id of a key in PEM: the last 32 bytes of it are the key itself (RFC 8410 §4). */
export function keyId(pem: string): string {
  const der = fromBase64(pem.replace(/-----[^-]+-----|\s/g, ""));
  return new Sha256().update(der.subarray(-32)).digest().slice(0, 16);
}

/** Verify a ZIP. `ownKeys` are the ids of the gateway's keys. `done` is called with the bytes that were read. */
export async function verifyExport(
  zip: Blob,
  ownKeys: ReadonlySet<string>,
  verify: VerifySignature,
  done: (bytes: number) => void = () => {},
): Promise<Finding[]> {
  const findings: Finding[] = [];
  try {
    await findIn(zip, ownKeys, verify, done, findings);
  } catch (error) {
    if (error instanceof VerifierError) throw error;
    // Somebody signed a manifest of another form: the rest of it says nothing.
    findings.push({ kind: "notAnExport", about: "", isFault: true });
  }
  // The names are those of somebody else.
  return findings.map((each) => ({ ...each, about: printable(String(each.about)) }));
}

async function findIn(
  zip: Blob,
  ownKeys: ReadonlySet<string>,
  verify: VerifySignature,
  done: (bytes: number) => void,
  findings: Finding[],
): Promise<void> {
  const say = (kind: Finding["kind"], about = "", isFault = false) => findings.push({ kind, about, isFault });
  const files = await filesOf(zip);
  const [data, signature, pem] = await Promise.all([
    bytesOf(files, "manifest.json"),
    bytesOf(files, "manifest.sig"),
    bytesOf(files, "public-key.pem"),
  ]);
  const key = new TextDecoder().decode(pem);
  if (!(await verify(key, toBase64(signature), data))) {
    say("manifestChanged", "", true);
    return;
  }
  const manifest = JSON.parse(new TextDecoder().decode(data)) as Manifest;
  if (manifest.type !== "liveedge-export" || manifest.version !== 1) throw new Error();
  const id = keyId(key);
  say(ownKeys.has(id) ? "ownKey" : "otherKey", id, !ownKeys.has(id));
  const named = manifest.cameras.flatMap(({ camera, name }) => (name ? [`${camera}: ${shortened(name)}`] : []));
  for (const each of new Set(named)) say("cameraName", each);
  for (const node of manifest.away ?? []) say("nodeAway", node);
  const listed = new Set<string>();
  const clips = manifest.cameras.flatMap(({ clips }) => clips);
  for (const each of [...clips, ...(manifest.files ?? [])]) {
    const { file, sha256 } = each;
    listed.add(file);
    const found = files.get(file);
    // A stream that fails is that of a damaged file.
    const hash = found && (await hashOf(found, done).catch(() => ""));
    const kind = hash === undefined ? "clipMissing" : hash === sha256 ? "clipRight" : "clipChanged";
    if (kind !== "clipRight" || clips.includes(each)) say(kind, file, kind !== "clipRight");
  }
  for (const { file, pictures_left_out: count } of clips) if (count) say("picturesLeftOut", `${file}: ${count}`);
  for (const name of files.keys()) if (!listed.has(name) && !UNLISTED.has(name)) say("clipAdded", name, true);
  const keys = new Map(manifest.public_keys.map(({ public_key }) => [keyId(public_key), public_key]));
  for (const { camera, sources, records } of manifest.cameras) {
    for (const { segment, state } of sources) {
      const kind = FAULTS[state] ?? (state === "unsigned" ? "sourceUnsigned" : null);
      if (kind) say(kind, `${camera}: ${segment}`, kind !== "sourceUnsigned");
    }
    findings.push(...(await verifyRecords(camera, records, keys, verify)));
  }
}

function shortened(name: string): string {
  if (typeof name !== "string") throw new Error();
  return name.length <= NAME_MAX ? name : `${name.slice(0, NAME_MAX)}…`;
}

/** Verify the signed records of one stream, and that each follows the one before. */
export async function verifyRecords(
  camera: string,
  records: SignedRecord[],
  keys: ReadonlyMap<string, string>,
  verify: VerifySignature,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const say = (kind: Finding["kind"], segment: string, isFault: boolean) =>
    findings.push({ kind, about: `${camera}: ${segment}`, isFault });
  let before: { number: number; digest: string } | null = null;
  for (const { statement, signature, deletion, deletion_signature } of records) {
    const data = new TextEncoder().encode(statement);
    const values = JSON.parse(statement) as { key: string; number: number; previous: string | null; segment: string };
    const key = keys.get(values.key);
    if (!key || !(await verify(key, signature, data))) say("recordWrong", values.segment, true);
    if (before && (values.number !== before.number + 1 || values.previous !== before.digest))
      say("chainBroken", values.segment, true);
    const digest = new Sha256().update(data).digest();
    if (deletion) {
      const deleted = JSON.parse(deletion) as { key: string; record: string };
      const signer = keys.get(deleted.key);
      const isRight =
        signer !== undefined &&
        deleted.record === digest &&
        (await verify(signer, deletion_signature ?? "", new TextEncoder().encode(deletion)));
      say(isRight ? "deleted" : "recordWrong", values.segment, !isRight);
    }
    before = { number: values.number, digest };
  }
  if (!findings.some(({ isFault }) => isFault))
    findings.push({ kind: "recordsRight", about: `${camera}: ${records.length}`, isFault: false });
  return findings;
}

/** What verifies signatures does not answer: nothing is known of the file. */
export class VerifierError extends Error {}

async function bytesOf(files: ReadonlyMap<string, ZipFile>, name: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = files.get(name);
  if (!file || file.size > SMALL_MAX_BYTES) throw new Error(name);
  return new Uint8Array(await new Response(file.stream()).arrayBuffer());
}
