// What the blocks and bars of a timeline mean.

import { h } from "./dom.ts";
import { t } from "./i18n.ts";

const ALWAYS = ["legendRecorded", "legendProtected", "legendMissing"] as const;
/** What not every camera has. */
const SOMETIMES = ["legendSub", "legendActivity", "legendEvent"] as const;

export class TimelineLegend {
  private readonly sometimes = new Map(
    SOMETIMES.map((word) => [word, h("span", { class: `legend ${word}`, hidden: true }, t(word))]),
  );
  readonly element = h(
    "span",
    { class: "legends" },
    ...ALWAYS.map((word) => h("span", { class: `legend ${word}` }, t(word))),
    ...this.sometimes.values(),
  );

  /** Explain it while it is seen. */
  explain(word: (typeof SOMETIMES)[number], isSeen: boolean): void {
    const element = this.sometimes.get(word);
    if (element) element.hidden = !isSeen;
  }
}
