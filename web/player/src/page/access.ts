// The view of tokens and signed links: two forms, and what is valid.

import { ApiError } from "../core/api.ts";
import type { CreatedToken, Link, LinkList, NewToken, SignedUrl, Token, TokenList } from "../generated/api.ts";
import { icon } from "../icons.ts";
import { type AccessMessageKey, t } from "./access-i18n.ts";
import { h, setText } from "./dom.ts";
import { messageOf } from "./failure.ts";
import { dateTime } from "./format.ts";
import { t as word } from "./i18n.ts";
import { nameOf, store } from "./store.ts";

export const ACCESS_HASH = "#/access";

const POLL_MS = 10_000;
const HOUR_S = 3600;
const ROLES = ["viewer", "reviewer", "operator", "publisher", "admin"] as const;
const LINKS = {
  mjpeg: (camera: string) => `/mjpeg/${camera}`,
  hls: (camera: string) => `/hls/${camera}/index.m3u8`,
  snapshot: (camera: string) => `/snapshot/${camera}.jpg`,
} as const;
type LinkKind = keyof typeof LINKS;

export class AccessView {
  readonly element: HTMLElement;
  private readonly closing = new AbortController();
  private readonly message = h("p", { class: "message error", role: "alert" });
  private readonly tokens = h("ul", {});
  private readonly links = h("ul", {});
  private readonly noLinks = h("p", { class: "muted" }, t("noLinks"));
  private readonly unnamed = h("input", { type: "checkbox", onchange: () => void this.reload() });
  private readonly unnamedText = h("span", {});
  private readonly unnamedLabel = h("label", { class: "check" }, this.unnamed, this.unnamedText);
  private readonly newToken = new TokenForm((error) => this.done(error));
  private readonly newLink = new LinkForm((error) => this.done(error));
  private timer = 0;

  constructor() {
    const forms = store.isOpen
      ? [h("section", { class: "card" }, h("p", {}, t("isOff")))]
      : [
          h("section", { class: "card" }, h("h2", {}, t("newToken")), this.newToken.element),
          h("section", { class: "card" }, h("h2", {}, t("tokens")), this.tokens),
          h("section", { class: "card" }, h("h2", {}, t("newLink")), this.newLink.element),
          h("section", { class: "card" }, h("h2", {}, t("links")), this.noLinks, this.links, this.unnamedLabel),
        ];
    this.element = h(
      "main",
      { class: "exports access" },
      h(
        "div",
        { class: "bar" },
        h("a", { href: "#/", class: "back" }, icon("back"), word("back")),
        h("h2", {}, t("access")),
      ),
      this.message,
      ...forms,
    );
    this.update();
    if (!store.isOpen) void this.reload();
  }

  /** The cameras may be others now. */
  update(): void {
    this.newToken.update();
    this.newLink.update();
  }

  close(): void {
    this.closing.abort();
    clearTimeout(this.timer);
  }

  private done(error: unknown): void {
    setText(this.message, error === null ? "" : messageOf(error));
    void this.reload();
  }

  private async reload(): Promise<void> {
    clearTimeout(this.timer);
    const { signal } = this.closing;
    try {
      const [{ tokens }, { links }] = await Promise.all([
        store.api.json<TokenList>("/api/tokens", { signal }),
        store.api.json<LinkList>("/api/links", { signal }),
      ]);
      this.showTokens(tokens);
      this.showLinks(links);
    } catch (error) {
      if (error instanceof ApiError) setText(this.message, messageOf(error));
    }
    if (!signal.aborted) this.timer = window.setTimeout(() => void this.reload(), POLL_MS);
  }

  private showTokens(tokens: Token[]): void {
    replaceRows(
      this.tokens,
      tokens.map((token) => {
        const used = token.source === "api" ? t("neverUsed") : t("notUsedSinceStart");
        const facts = [
          token.role ? t(`short_${token.role}`) : token.scopes.join(", "),
          token.cameras ? token.cameras.map(cameraName).join(", ") : t("all"),
        ];
        const life = [
          token.created
            ? t("madeBy", { time: dateTime(Date.parse(token.created)), who: token.created_by ?? "" })
            : t("ofSettings"),
          endOf(token.expires),
          token.last_used ? t("lastUsed", { time: dateTime(Date.parse(token.last_used)) }) : used,
        ];
        const { id } = token;
        return row(
          `token-${id ?? token.name}`,
          token.name,
          [facts, life],
          id && (() => this.revokeToken(id, token.name)),
        );
      }),
    );
  }

  private showLinks(links: Link[]): void {
    const unnamed = links.filter(({ name }) => name === null);
    const shown = this.unnamed.checked ? links : links.filter(({ name }) => name !== null);
    setText(this.unnamedText, t("unnamed", { count: unnamed.length }));
    this.unnamedLabel.hidden = unnamed.length === 0;
    this.noLinks.hidden = shown.length > 0;
    replaceRows(
      this.links,
      shown.map((link) => {
        const name = link.name ?? link.path;
        const until = t("until", { time: dateTime(Date.parse(link.expires)) });
        const state = link.revoked ? t("revokedAt", { time: dateTime(Date.parse(link.revoked)) }) : until;
        const revoke = link.revoked === null && (() => this.revokeLink(link.id, name));
        return row(`link-${link.id}`, name, [[link.path], [state, t("by", { who: link.created_by })]], revoke);
      }),
    );
  }

  private async revokeToken(id: string, name: string): Promise<void> {
    if (confirm(t("revokeTokenConfirm", { name }))) await this.send(`/api/tokens/${id}`);
  }

  private async revokeLink(id: string, name: string): Promise<void> {
    if (confirm(t("revokeLinkConfirm", { name }))) await this.send(`/api/links/${id}`);
  }

  private async send(path: string): Promise<void> {
    try {
      await store.api.send("DELETE", path);
      this.done(null);
    } catch (error) {
      this.done(error);
    }
  }
}

class TokenForm {
  private readonly name = h("input", { id: "token-name", required: true, maxlength: 100, autocomplete: "off" });
  private readonly role = h("select", { id: "token-role" }, ...ROLES.map((role) => option(role, t(`role_${role}`))));
  private readonly all = h("input", { type: "checkbox", checked: true });
  private readonly cameras = h("div", { class: "choices", hidden: true });
  private readonly ends = h("input", { id: "token-ends", type: "datetime-local" });
  private readonly result = h("div", { class: "link", hidden: true });
  readonly element = h(
    "form",
    {},
    field("name", this.name),
    field("role", this.role),
    field("ends", this.ends),
    h(
      "fieldset",
      {},
      h("legend", {}, t("cameras")),
      h("label", { class: "check" }, this.all, t("allCameras")),
      this.cameras,
    ),
    h("button", { class: "primary" }, t("makeToken")),
    this.result,
  );

  constructor(private readonly done: (error: unknown) => void) {
    this.name.placeholder = t("nameHelp");
    this.all.addEventListener("change", () => this.showCameras());
    this.role.addEventListener("change", () => this.showCameras());
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.send().then(() => this.done(null), this.done);
    });
  }

  update(): void {
    const cameras = store.status?.cameras ?? [];
    const ids = cameras.map(({ camera_id }) => camera_id).join();
    if (this.cameras.dataset.ids === ids) return;
    this.cameras.dataset.ids = ids;
    const chosen = new Set(this.chosen);
    this.cameras.replaceChildren(
      ...cameras.map((camera) => {
        const box = h("input", { type: "checkbox", value: camera.camera_id });
        box.checked = chosen.has(camera.camera_id);
        return h("label", { class: "check" }, box, nameOf(camera));
      }),
    );
  }

  private get chosen(): string[] {
    return [...this.cameras.querySelectorAll("input")].filter(({ checked }) => checked).map(({ value }) => value);
  }

  /** An administrator's token is for all cameras. */
  private showCameras(): void {
    this.all.disabled = this.role.value === "admin";
    this.cameras.hidden = this.all.checked || this.all.disabled;
  }

  private async send(): Promise<void> {
    const body: Partial<NewToken> = { name: this.name.value, role: this.role.value as (typeof ROLES)[number] };
    if (!this.cameras.hidden) body.cameras = this.chosen;
    if (this.ends.value) body.expires = new Date(this.ends.value).toISOString();
    const { token, name } = await store.api.post<CreatedToken>("/api/tokens", body);
    this.name.value = "";
    await showSecret(this.result, token, t("tokenOf", { name }), (isCopied) =>
      t(isCopied ? "tokenCopied" : "tokenOnce"),
    );
  }
}

class LinkForm {
  private readonly name = h("input", { id: "link-name", required: true, maxlength: 100, autocomplete: "off" });
  private readonly camera = h("select", { id: "link-camera", required: true });
  private readonly kind = h(
    "select",
    { id: "link-kind" },
    ...(Object.keys(LINKS) as LinkKind[]).map((kind) => option(kind, t(`kind_${kind}`))),
  );
  private readonly hours = h("input", { id: "link-hours", type: "number", min: 1, max: 168, value: 1, required: true });
  private readonly result = h("div", { class: "link", hidden: true });
  readonly element = h(
    "form",
    {},
    field("name", this.name),
    field("camera", this.camera),
    field("kind", this.kind),
    field("hours", this.hours),
    h("button", { class: "primary" }, t("makeLink")),
    h("p", { class: "muted wide" }, t("linksHelp")),
    this.result,
  );

  constructor(private readonly done: (error: unknown) => void) {
    this.name.placeholder = t("nameHelp");
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.send().then(() => this.done(null), this.done);
    });
  }

  update(): void {
    const cameras = store.status?.cameras ?? [];
    const ids = cameras.map(({ camera_id }) => camera_id).join();
    if (this.camera.dataset.ids === ids) return;
    this.camera.dataset.ids = ids;
    const { value } = this.camera;
    this.camera.replaceChildren(...cameras.map((camera) => option(camera.camera_id, nameOf(camera))));
    if (cameras.some(({ camera_id }) => camera_id === value)) this.camera.value = value;
  }

  private async send(): Promise<void> {
    const name = this.name.value;
    const { url, expires } = await store.api.post<SignedUrl>("/api/sign", {
      path: LINKS[this.kind.value as LinkKind](this.camera.value),
      expires_s: Number(this.hours.value) * HOUR_S,
      name,
    });
    this.name.value = "";
    const address = new URL(store.api.url(url), location.href).href;
    const time = expires ? dateTime(Date.parse(expires)) : "";
    await showSecret(this.result, address, t("linkOf", { name }), (isCopied) =>
      t(isCopied ? "linkCopied" : "linkBelow", { time }),
    );
  }
}

/** Show a text to copy, copied already where the browser allows it. */
async function showSecret(
  place: HTMLElement,
  text: string,
  label: string,
  say: (isCopied: boolean) => string,
): Promise<void> {
  const input = h("input", { readonly: true, value: text, "aria-label": label });
  const isCopied = await (navigator.clipboard?.writeText(text).then(
    () => true,
    () => false,
  ) ?? false);
  place.replaceChildren(input, h("p", { class: "muted", role: "status" }, say(isCopied)));
  place.hidden = false;
  input.focus();
  input.select();
}

function row(
  key: string,
  name: string,
  facts: readonly string[][],
  revoke: (() => Promise<void>) | false | null | "",
): HTMLElement {
  const label = `${t("revoke")}: ${name}`;
  return h(
    "li",
    {},
    h("div", { class: "about" }, h("b", {}, name), ...facts.map((each) => h("span", {}, each.join(" · ")))),
    revoke &&
      h("button", { type: "button", "data-key": key, "aria-label": label, onclick: () => void revoke() }, t("revoke")),
  );
}

/** A button that is there again keeps its focus. */
function replaceRows(list: HTMLElement, rows: HTMLElement[]): void {
  const focused = list.contains(document.activeElement) ? document.activeElement?.getAttribute("data-key") : null;
  list.replaceChildren(...rows);
  if (focused) list.querySelector<HTMLElement>(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function endOf(expires: string | null): string {
  if (expires === null) return t("endsNever");
  const ms = Date.parse(expires);
  return t(ms > store.now ? "endsAt" : "ended", { time: dateTime(ms) });
}

function cameraName(id: string): string {
  const camera = store.camera(id);
  return camera ? nameOf(camera) : id;
}

function field(key: AccessMessageKey, control: HTMLElement): HTMLElement {
  return h("div", { class: "field" }, h("label", { for: control.id }, t(key)), control);
}

function option(value: string, text: string): HTMLOptionElement {
  return h("option", { value }, text);
}
