// The verifier: a file that the user chooses is verified in the browser, which has no need to send it anywhere.

import {
  canVerify,
  type Finding,
  VerifierError,
  type VerifySignature,
  verifyExport,
  verifyInBrowser,
  verifyRecords,
} from "../core/evidence.ts";
import { hashOf } from "../core/sha256.ts";
import type { EvidenceKeys, Verification } from "../generated/api.ts";
import { h, setText } from "./dom.ts";
import { sentence, t } from "./exports-i18n.ts";
import { messageOf } from "./failure.ts";
import { store } from "./store.ts";

/** What the gateway takes in a request. */
const STATEMENT_MAX = 200_000;

export class Verifier {
  readonly element: HTMLElement;
  private readonly file = h("input", { id: "verify-file", type: "file", accept: ".zip,.mp4" });
  private readonly status = h("p", { class: "verdict", role: "status" });
  private readonly findings = h("ul", { class: "findings" });
  private readonly key = h("p", { class: "muted" });

  constructor(private readonly signal: AbortSignal) {
    this.file.addEventListener("change", () => {
      const [file] = this.file.files ?? [];
      if (file) void this.verify(file);
    });
    this.element = h(
      "section",
      { class: "card verify" },
      h("h2", {}, t("verify")),
      h("p", { class: "muted", id: "verify-help" }, t("verifyHelp")),
      h("label", { for: this.file.id }, t("chooseFile")),
      this.file,
      this.status,
      this.findings,
      this.key,
    );
    this.file.setAttribute("aria-describedby", "verify-help");
    void this.keys().then(
      ({ id }) => setText(this.key, `${t("key")}: ${id}`),
      () => {},
    );
  }

  private keys(): Promise<EvidenceKeys> {
    return store.api.json<EvidenceKeys>("/api/evidence/key", { signal: this.signal });
  }

  private async verify(file: File): Promise<void> {
    this.findings.replaceChildren();
    delete this.status.dataset.verdict;
    let read = 0;
    const done = (bytes: number) => {
      read += bytes;
      setText(
        this.status,
        t("verifying", { percent: Math.min(100, Math.floor((100 * read) / Math.max(1, file.size))) }),
      );
    };
    this.file.disabled = true;
    try {
      const keys = await this.keys();
      const verify = (await canVerify()) ? verifyInBrowser : verifyByGateway;
      const isZip = new Uint8Array(await file.slice(0, 2).arrayBuffer()).join() === "80,75";
      const found = isZip
        ? await verifyExport(file, new Set(keys.public_keys.map(({ id }) => id)), verify, done)
        : await verifyRecording(file, keys, verify, done);
      const isRight = !found.some(({ isFault }) => isFault);
      this.findings.replaceChildren(
        ...found.map((each) => h("li", { "data-fault": each.isFault ? "" : null }, sentence(each))),
      );
      this.status.dataset.verdict = isRight ? "right" : "wrong";
      setText(this.status, t(isRight ? "verified" : "notVerified", { name: file.name }));
    } catch (error) {
      const message = messageOf(error);
      setText(this.status, t("cannotVerify", { name: file.name, message }));
    } finally {
      this.file.disabled = false;
    }
  }
}

async function verifyRecording(
  file: File,
  keys: EvidenceKeys,
  verify: VerifySignature,
  done: (bytes: number) => void,
): Promise<Finding[]> {
  const sha256 = await hashOf(file, done);
  const { records } = await store.api.post<Verification>("/api/evidence/verify", { sha256 });
  const [record] = records;
  if (!record) return [{ kind: "fileUnknown", about: sha256, isFault: true }];
  const values = JSON.parse(record.statement) as { camera: string; start: string; end: string; sha256: string };
  const byId = new Map(keys.public_keys.map(({ id, public_key }) => [id, public_key]));
  const wrong = (await verifyRecords(values.camera, [record], byId, verify)).filter(({ isFault }) => isFault);
  if (wrong.length > 0 || values.sha256 !== sha256) return wrong;
  return [{ kind: "fileRight", about: `${values.camera}, ${values.start} – ${values.end}`, isFault: false }];
}

/** Where the browser does not verify Ed25519, the gateway does: whether one of its own keys signed the text. */
const verifyByGateway: VerifySignature = async (_pem, signature, data) => {
  if (data.length > STATEMENT_MAX) throw new VerifierError(t("tooLargeHere"));
  const statement = new TextDecoder().decode(data);
  try {
    const { valid } = await store.api.post<Verification>("/api/evidence/verify", { statement, signature });
    return valid;
  } catch (error) {
    throw new VerifierError(messageOf(error));
  }
};
