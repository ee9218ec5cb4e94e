// The dialog of notifications: what this browser is notified of, and the list of all browsers that are.

import { browserName, KINDS, type PushChoice, parseLabels } from "../core/push.ts";
import type { PushSubscriptionList, PushTest, PushSubscription as Subscribed } from "../generated/api.ts";
import { icon } from "../icons.ts";
import { isDialogOpen, openDialog, titledDialog } from "./dialog.ts";
import { h, setText } from "./dom.ts";
import { messageOf } from "./failure.ts";
import { since } from "./format.ts";
import { language } from "./i18n.ts";
import { type NotificationsMessageKey, t } from "./notifications-i18n.ts";
import { obstacle, ownId, subscribe, unsubscribe } from "./push.ts";
import { nameOf, store } from "./store.ts";

/** Open the dialog, unless one is open. */
export async function showNotifications(): Promise<void> {
  if (isDialogOpen()) return;
  const dialog = new Notifications();
  openDialog(dialog.box);
  await dialog.load();
}

class Notifications {
  readonly box: HTMLDialogElement;
  private readonly kinds = KINDS.map((kind) => [kind, h("input", { type: "checkbox", value: kind })] as const);
  private readonly cameras: (readonly [string, HTMLInputElement])[];
  private readonly labels = h("input", { placeholder: t("labelsHint"), maxlength: 500 });
  private readonly isQuiet = h("input", { type: "checkbox" });
  private readonly from = h("input", { type: "time", value: "22:00", required: true });
  private readonly to = h("input", { type: "time", value: "07:00", required: true });
  private readonly submit = h("button", { class: "primary" }, t("turnOn"));
  private readonly off = h("button", { type: "button", hidden: true }, t("turnOff"));
  private readonly test = h("button", { type: "button", hidden: true }, t("sendTest"));
  private readonly message = h("p", { class: "message", role: "status" });
  private readonly hint = h("p", { class: "error", hidden: true });
  private readonly list = h("ul", {});
  private readonly others = h("section", { hidden: true }, h("h3", {}, t("browsers")), this.list);
  private readonly form: HTMLFormElement;
  private own: Subscribed | null = null;

  constructor() {
    const cameras = store.status?.cameras ?? [];
    this.cameras = cameras.map(
      ({ camera_id }) => [camera_id, h("input", { type: "checkbox", checked: true, value: camera_id })] as const,
    );
    const quiet = h("div", { class: "quiet" }, field("from", this.from), field("to", this.to));
    const showQuiet = () => {
      quiet.hidden = this.from.disabled = this.to.disabled = !this.isQuiet.checked;
    };
    this.isQuiet.addEventListener("change", showQuiet);
    this.form = h(
      "form",
      {},
      h("p", { class: "muted" }, t("help")),
      choices("kinds", ...this.kinds.map(([kind, input]) => check(t(`kind_${kind}`), input))),
      field("labels", this.labels),
      choices("cameras", ...cameras.map((camera, at) => check(nameOf(camera), this.cameras[at]?.[1]))),
      check(t("quiet"), this.isQuiet),
      quiet,
      h("div", { class: "buttons" }, this.submit, this.test, this.off),
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.run(() => this.save());
    });
    this.off.addEventListener("click", () => void this.run(() => this.turnOff()));
    this.test.addEventListener("click", () => void this.run(() => this.sendTest(this.own)));
    this.box = titledDialog(
      "wizard notifications",
      t("notifications"),
      this.hint,
      this.form,
      this.message,
      this.others,
    );
    this.show(null);
    showQuiet();
  }

  /** Read what there is. */
  async load(): Promise<void> {
    const why = await obstacle();
    this.hint.hidden = why === null;
    this.form.hidden = why !== null;
    if (why !== null) setText(this.hint, t(`no_${why}`));
    await this.run(() => this.reload());
  }

  private async reload(): Promise<void> {
    const { subscriptions } = await store.api.json<PushSubscriptionList>("/api/push/subscriptions");
    const id = await ownId();
    const own = subscriptions.find(({ subscription_id }) => subscription_id === id) ?? null;
    if (own?.subscription_id !== this.own?.subscription_id) this.show(own);
    this.own = own;
    this.test.hidden = this.off.hidden = own === null;
    setText(this.submit, t(own ? "save" : "turnOn"));
    this.others.hidden = subscriptions.length === 0;
    this.list.replaceChildren(...subscriptions.map((each) => this.row(each)));
  }

  /** Show what was chosen; at first, events and cameras that are down. */
  private show(chosen: PushChoice | null): void {
    const kinds = chosen?.kinds ?? ["event.created", "camera.down"];
    for (const [kind, input] of this.kinds) input.checked = kinds.includes(kind);
    for (const [camera, input] of this.cameras) input.checked = chosen?.cameras?.includes(camera) ?? true;
    this.labels.value = chosen?.labels?.join(", ") ?? "";
    if (!chosen) return;
    this.isQuiet.checked = Boolean(chosen.quiet_hours);
    this.isQuiet.dispatchEvent(new Event("change"));
    if (chosen.quiet_hours) [this.from.value, this.to.value] = [chosen.quiet_hours.start, chosen.quiet_hours.end];
  }

  private async save(): Promise<void> {
    const kinds = this.kinds.filter(([, input]) => input.checked).map(([kind]) => kind);
    const cameras = this.cameras.filter(([, input]) => input.checked).map(([camera]) => camera);
    if (kinds.length === 0) return setText(this.message, t("chooseKind"));
    if (cameras.length === 0 && this.cameras.length > 0) return setText(this.message, t("chooseCamera"));
    const time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const quiet_hours = this.isQuiet.checked ? { start: this.from.value, end: this.to.value, time_zone } : null;
    const choice: PushChoice = {
      name: browserName(navigator.userAgent),
      kinds,
      // All cameras are also those that come later.
      cameras: cameras.length === this.cameras.length ? null : cameras,
      labels: parseLabels(this.labels.value),
      quiet_hours,
      language: language === "ko" ? "ko" : "en",
    };
    const refusal = await subscribe(choice);
    await this.reload();
    setText(this.message, t(refusal ?? "saved"));
  }

  private async turnOff(): Promise<void> {
    await unsubscribe();
    await this.reload();
    this.submit.focus();
  }

  private async sendTest(to: Subscribed | null): Promise<void> {
    if (to === null) return;
    const path = `/api/push/subscriptions/${to.subscription_id}/test`;
    const { delivered, message } = await store.api.post<PushTest>(path);
    setText(this.message, delivered ? t("testSent") : t("testFailed", { message }));
    await this.reload();
  }

  private async remove({ subscription_id }: Subscribed): Promise<void> {
    if (subscription_id === this.own?.subscription_id) return this.turnOff();
    await store.api.send("DELETE", `/api/push/subscriptions/${subscription_id}`);
    await this.reload();
  }

  private row(each: Subscribed): HTMLElement {
    const isOwn = each.subscription_id === this.own?.subscription_id;
    const name = isOwn ? `${each.name} (${t("thisBrowser")})` : each.name;
    const time = each.last_delivered ? since(Date.parse(each.last_delivered)) : null;
    return h(
      "li",
      {},
      h(
        "div",
        {},
        h("b", {}, name),
        h(
          "small",
          {},
          each.error
            ? t("notDelivered", { message: each.error })
            : time
              ? t("lastDelivered", { time })
              : t("nothingYet"),
        ),
      ),
      rowButton("bell", t("testOf", { name }), () => void this.run(() => this.sendTest(each))),
      rowButton("remove", t("removeOf", { name }), () => void this.run(() => this.remove(each))),
    );
  }

  private async run(work: () => Promise<void>): Promise<void> {
    setText(this.message, "");
    this.box.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      setText(this.message, messageOf(error));
    }
    this.box.removeAttribute("aria-busy");
  }
}

function check(text: string, input: HTMLInputElement | undefined): HTMLElement {
  return h("label", { class: "check" }, input, text);
}

function field(key: NotificationsMessageKey, input: HTMLElement): HTMLElement {
  return h("label", { class: "field" }, t(key), input);
}

function choices(key: NotificationsMessageKey, ...labels: HTMLElement[]): HTMLElement {
  return h("fieldset", {}, h("legend", {}, t(key)), h("div", { class: "choices" }, ...labels));
}

function rowButton(symbol: "bell" | "remove", label: string, onclick: () => void): HTMLElement {
  const attributes = { type: "button", class: "icon", "aria-label": label, title: label, onclick };
  return h("button", attributes, icon(symbol));
}
