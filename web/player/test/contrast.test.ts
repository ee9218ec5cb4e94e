// WCAG 2.2, 1.4.3 and 1.4.11, computed from the colors of page.css: text has 4.5:1, graphics have 3:1.

import { describe, expect, it } from "vitest";
import css from "../../static/page.css?raw";

function tokens(block: string): Record<string, string> {
  return Object.fromEntries(
    [...block.matchAll(/--([\w-]+):\s*(#[0-9a-f]{3,6})\b/g)].map(([, name, value]) => [name, value]),
  );
}

const light = tokens(/^:root \{([^}]*)\}/m.exec(css)?.[1] ?? "");
const dark = { ...light, ...tokens(/prefers-color-scheme: dark\) \{\s*:root \{([^}]*)\}/.exec(css)?.[1] ?? "") };

/** Relative luminance, as WCAG defines it. */
function luminance(hex: string): number {
  const digits = hex.length === 4 ? [...hex.slice(1)].map((digit) => digit + digit).join("") : hex.slice(1);
  const linear = (at: number): number => {
    const part = parseInt(digits.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(0) + 0.7152 * linear(2) + 0.0722 * linear(4);
}

function contrast(a: string, b: string): number {
  const [one, other] = [luminance(a), luminance(b)];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}

it("computes contrast as WCAG does", () => {
  expect(contrast("#000", "#ffffff")).toBeCloseTo(21, 5);
  expect(contrast("#767676", "#fff")).toBeCloseTo(4.54, 2);
});

describe.each([
  ["light", light],
  ["dark", dark],
])("%s", (_, colors) => {
  const ratio = (color: string, background: string) => contrast(colors[color] ?? "#000", colors[background] ?? "#000");

  it.each(["recorded", "protected", "missing", "event", "activity", "text", "live", "playback"])(
    "%s is visible on the timeline",
    (name) => {
      expect(ratio(name, "panel")).toBeGreaterThanOrEqual(3);
    },
  );

  it.each([
    ["text", "panel"],
    ["text", "background"],
    ["text", "raised"],
    ["text-muted", "panel"],
    ["text-muted", "background"],
    ["on-accent", "accent"],
    ["error", "panel"],
    ["warning", "panel"],
    ["live", "panel"],
    ["background", "error"],
  ])("%s is readable on %s", (color, background) => {
    expect(ratio(color, background)).toBeGreaterThanOrEqual(4.5);
  });

  it("has visible plots and focus rings", () => {
    for (const background of ["panel", "raised", "background"])
      expect(ratio("accent", background)).toBeGreaterThanOrEqual(3);
  });
});
