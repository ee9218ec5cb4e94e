// A field for a moment in local time. Where the clocks show a time twice, a second field tells which one is meant.

import { momentsOf, utcOffset } from "../core/moment.ts";
import { h } from "./dom.ts";
import { type PageMessageKey, t } from "./i18n.ts";

export class MomentField {
  readonly element: HTMLElement;
  private readonly input: HTMLInputElement;
  private readonly offset = h("select", { "aria-label": t("twiceTime"), title: t("twiceTime"), hidden: true });

  constructor(id: string, label: string, time: number) {
    this.input = h("input", { id, type: "datetime-local", step: 1, required: true });
    this.input.value = local(time);
    this.input.addEventListener("input", () => this.update());
    this.element = h("div", { class: "field" }, h("label", { for: id }, label), this.input, this.offset);
    this.update(time);
  }

  /** The moment, ms since the Unix epoch; null if it is none. */
  get time(): number | null {
    const { moments } = this;
    return moments[this.offset.selectedIndex] ?? moments[0] ?? null;
  }

  /** Why it is no moment. */
  get error(): PageMessageKey | null {
    if (this.time !== null) return null;
    return this.input.value === "" ? "wrongTime" : "skippedTime";
  }

  private get moments(): number[] {
    const match = /^(\d+-\d+-\d+)T(\d+):(\d+)(?::(\d+))?/.exec(this.input.value);
    if (!match) return [];
    const [hours = 0, minutes = 0, seconds = 0] = match.slice(2, 5).map((text) => Number(text ?? 0));
    return momentsOf(match[1] ?? "", { hours, minutes, seconds });
  }

  private update(time?: number): void {
    const { moments } = this;
    this.offset.hidden = moments.length < 2;
    this.offset.replaceChildren(
      ...moments.map((moment) => h("option", { selected: moment === time }, utcOffset(moment))),
    );
  }
}

/** A moment for a field of local time. */
function local(ms: number): string {
  const date = new Date(ms);
  const offset = date.getTimezoneOffset() * 60_000;
  return new Date(ms - offset).toISOString().slice(0, 19);
}
