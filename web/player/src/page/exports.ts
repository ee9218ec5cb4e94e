// The view of exports: a form, the list of exports with their progress, and the verifier.

import { ApiError } from "../core/api.ts";
import { errorText } from "../core/error-texts.ts";
import type { Export, ExportList, NewExport, SignedUrl } from "../generated/api.ts";
import { type Icon, icon } from "../icons.ts";
import { save } from "./archive.ts";
import { askAllNodes, awayNote } from "./away.ts";
import { h, setText } from "./dom.ts";
import { type ExportsMessageKey, t } from "./exports-i18n.ts";
import { messageOf } from "./failure.ts";
import { bytes, clock, since } from "./format.ts";
import { language, t as word } from "./i18n.ts";
import { MomentField } from "./moment-field.ts";
import { nameOf, store } from "./store.ts";
import { Verifier } from "./verifier.ts";

const POLL_MS = 1000;
const IDLE_POLL_MS = 5000;
const DEFAULT_MS = 5 * 60_000;

/** The address of the view, with what its form has at first. */
export function exportsHash(cameras: readonly string[] = [], from?: number, to?: number): string {
  const query = new URLSearchParams();
  for (const camera of cameras) query.append("camera", camera);
  if (from !== undefined && to !== undefined) {
    query.set("from", String(Math.floor(from / 1000)));
    query.set("to", String(Math.ceil(to / 1000)));
  }
  return query.size > 0 ? `#/exports?${query}` : "#/exports";
}

export class ExportsView {
  readonly element: HTMLElement;
  private readonly closing = new AbortController();
  private readonly cameras = h("div", { class: "choices" });
  private readonly from: MomentField;
  private readonly to: MomentField;
  private readonly burnIn = h("input", { type: "checkbox" });
  private readonly message = h("p", { class: "message", role: "alert" });
  private readonly list = h("ul", {});
  private readonly empty = h("p", { class: "muted" }, t("noExports"));
  private readonly rows = new Map<string, Row>();
  private readonly chosen = new Set<string>();
  private timer = 0;

  constructor(query: URLSearchParams) {
    for (const camera of query.getAll("camera")) this.chosen.add(camera);
    const second = Math.floor(store.now / 1000) * 1000;
    const to = momentIn(query.get("to")) ?? second;
    this.to = new MomentField("export-to", t("to"), to);
    this.from = new MomentField("export-from", t("from"), momentIn(query.get("from")) ?? to - DEFAULT_MS);
    this.element = this.build();
    this.update();
    void this.reload();
  }

  /** The cameras may be others now. */
  update(): void {
    const cameras = store.status?.cameras ?? [];
    const ids = JSON.stringify(cameras.map((camera) => [camera.camera_id, nameOf(camera)]));
    if (this.cameras.dataset.ids === ids) return;
    this.cameras.dataset.ids = ids;
    this.cameras.replaceChildren(
      ...cameras.map((camera) => {
        const box = h("input", { type: "checkbox", value: camera.camera_id });
        box.checked = this.chosen.has(camera.camera_id);
        box.addEventListener("change", () => this.choose(camera.camera_id, box.checked));
        return h("label", { class: "check" }, box, nameOf(camera));
      }),
    );
  }

  close(): void {
    this.closing.abort();
    clearTimeout(this.timer);
  }

  private build(): HTMLElement {
    const form = h(
      "form",
      {},
      h("fieldset", {}, h("legend", {}, t("cameras")), this.cameras),
      this.from.element,
      this.to.element,
      h("label", { class: "check wide" }, this.burnIn, t("burnIn")),
      awayNote(this.closing.signal),
      h("button", { class: "primary" }, t("start")),
      this.message,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.send();
    });
    return h(
      "main",
      { class: "exports" },
      h(
        "div",
        { class: "bar" },
        h("a", { href: "#/", class: "back" }, icon("back"), word("back")),
        h("h2", {}, t("exports")),
      ),
      h("section", { class: "card" }, h("h2", {}, t("newExport")), form),
      h("section", { class: "card" }, h("h2", {}, t("exportList")), this.empty, this.list),
      new Verifier(this.closing.signal).element,
    );
  }

  private choose(camera: string, isChosen: boolean): void {
    if (isChosen) this.chosen.add(camera);
    else this.chosen.delete(camera);
  }

  private async send(): Promise<void> {
    setText(this.message, "");
    const cameras = (store.status?.cameras ?? []).map(({ camera_id }) => camera_id).filter((id) => this.chosen.has(id));
    if (cameras.length === 0) return setText(this.message, t("chooseCamera"));
    const wrong = this.from.error ?? this.to.error;
    if (wrong) return setText(this.message, word(wrong));
    const [start, end] = [new Date(this.from.time ?? 0), new Date(this.to.time ?? 0)];
    if (!(start < end)) return setText(this.message, t("chooseTimes"));
    if (start.getTime() > store.now) return setText(this.message, word("notYet"));
    const request: Partial<NewExport> = {
      cameras,
      start: start.toISOString(),
      end: end.toISOString(),
      burn_in_time: this.burnIn.checked,
    };
    try {
      await store.api.post<Export>("/api/exports", request);
      await this.reload();
    } catch (error) {
      this.fail(error);
    }
  }

  private async reload(): Promise<void> {
    clearTimeout(this.timer);
    const { signal } = this.closing;
    let isBusy = false;
    try {
      const { exports } = await askAllNodes<ExportList>("exports", "/api/exports", signal);
      this.show(exports);
      isBusy = exports.some(({ state }) => state === "waiting" || state === "running");
    } catch (error) {
      if (error instanceof ApiError) this.fail(error);
    }
    if (!signal.aborted) this.timer = window.setTimeout(() => void this.reload(), isBusy ? POLL_MS : IDLE_POLL_MS);
  }

  /** Rows stay the same elements, so that a button keeps its focus. */
  private show(exports: Export[]): void {
    this.empty.hidden = exports.length > 0;
    const ids = new Set(exports.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    exports.forEach((each, number) => {
      let row = this.rows.get(each.id);
      if (!row) {
        row = new Row(
          each,
          () => void this.reload(),
          (error) => this.fail(error),
        );
        this.rows.set(each.id, row);
        this.list.insertBefore(row.element, this.list.children[number] ?? null);
      }
      row.show(each);
    });
  }

  private fail(error: unknown): void {
    if (error instanceof DOMException && error.name === "AbortError") return;
    setText(this.message, messageOf(error));
  }
}

class Row {
  readonly element: HTMLElement;
  private readonly state = h("small", { role: "status" });
  private readonly incomplete = h("p", { class: "away", hidden: true });
  private readonly progress = h("progress", { max: 1 });
  private readonly download: HTMLButtonElement;
  private readonly share: HTMLButtonElement;
  private readonly link = h("div", { class: "link", hidden: true });
  private readonly what: string;

  constructor(
    private shown: Export,
    private readonly changed: () => void,
    private readonly fail: (error: unknown) => void,
  ) {
    const names = shown.cameras.map((id) => {
      const camera = store.camera(id);
      return camera ? nameOf(camera) : id;
    });
    this.what = names.join(", ");
    this.progress.ariaLabel = this.what;
    const [start, end] = [Date.parse(shown.start), Date.parse(shown.end)];
    this.download = this.button("download", "download", () => this.save());
    this.share = this.button("share", "share", () => this.showLink());
    this.element = h(
      "li",
      {},
      h(
        "div",
        { class: "about" },
        h("b", {}, this.what),
        h("span", {}, `${since(start)} – ${clock(end)}${shown.burn_in_time ? ` · ${t("withTime")}` : ""}`),
        this.state,
        this.incomplete,
        this.progress,
      ),
      this.download,
      this.share,
      // Another one's is for who controls the cameras.
      (store.hasScope("control") || store.isNamed(shown.by)) && this.button("remove", "delete", () => this.remove()),
      this.link,
    );
  }

  show(shown: Export): void {
    this.shown = shown;
    const isDone = shown.state === "done";
    const kept = shown.expires && isDone ? ` · ${t("until", { time: since(Date.parse(shown.expires)) })}` : "";
    const size = shown.size !== null ? ` · ${bytes(shown.size)}` : "";
    const { error, message, reason, values } = shown;
    const text = errorText(language, { error: error ?? "", reason, values }) ?? message;
    const why = text && !isDone ? `: ${text}` : "";
    // One that is done says what is not in it: nobody is to believe that nothing was recorded.
    this.incomplete.hidden = !isDone || !text;
    setText(this.incomplete, isDone && text ? t("incomplete", { message: text }) : "");
    setText(this.state, `${t(`state_${shown.state}` as ExportsMessageKey)}${size}${kept}${why}`);
    this.element.dataset.state = shown.state;
    this.progress.hidden = isDone || shown.state === "failed";
    this.progress.value = shown.progress;
    this.download.hidden = this.share.hidden = !isDone;
  }

  private button(symbol: Icon, key: ExportsMessageKey, work: () => Promise<void>): HTMLButtonElement {
    const name = `${t(key)}: ${this.what}`;
    return h(
      "button",
      { type: "button", class: "icon", title: t(key), "aria-label": name, onclick: () => void work().catch(this.fail) },
      icon(symbol),
    );
  }

  private async save(): Promise<void> {
    if (this.shown.url) await save(this.shown.url, "");
  }

  private async showLink(): Promise<void> {
    if (!this.shown.url) return;
    const { url, expires } = await store.api.post<SignedUrl>("/api/sign", {
      path: this.shown.url,
      name: this.what.slice(0, 100),
    });
    const address = new URL(store.api.url(url), location.href).href;
    const field = h("input", { readonly: true, value: address, "aria-label": t("shareOf", { what: this.what }) });
    const until = expires ?? this.shown.expires;
    const time = until ? since(Date.parse(until)) : "";
    const isCopied = await (navigator.clipboard?.writeText(address).then(
      () => true,
      () => false,
    ) ?? false);
    const text = `${t(isCopied ? "copied" : "linkBelow", { time })} ${expires ? "" : t("linkForAll")}`;
    this.link.replaceChildren(field, h("p", { class: "muted", role: "status" }, text.trim()));
    this.link.hidden = false;
    field.select();
  }

  private async remove(): Promise<void> {
    if (!confirm(t("deleteConfirm", { what: this.what }))) return;
    await store.api.send("DELETE", `/api/exports/${this.shown.id}`);
    this.changed();
  }
}

/** Unix seconds in the address, as ms. */
function momentIn(text: string | null): number | null {
  return text !== null && /^\d{1,11}$/.test(text) ? Number(text) * 1000 : null;
}
