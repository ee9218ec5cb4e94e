// WCAG 2.2, 1.4.3 and 1.4.11, computed from the page's own colours: text has 4.5:1, what is drawn has 3:1.

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

it("knows what contrast is", () => {
  expect(contrast("#000", "#ffffff")).toBeCloseTo(21, 5);
  expect(contrast("#767676", "#fff")).toBeCloseTo(4.54, 2);
});

describe.each([
  ["light", light],
  ["dark", dark],
])("%s", (_, colors) => {
  const ratio = (ink: string, ground: string) => contrast(colors[ink] ?? "#000", colors[ground] ?? "#000");

  it.each(["recorded", "protected", "missing", "ink", "live", "past"])("%s is seen on the strip", (name) => {
    expect(ratio(name, "panel")).toBeGreaterThanOrEqual(3);
  });

  it.each([
    ["ink", "panel"],
    ["ink", "ground"],
    ["ink", "raised"],
    ["quiet", "panel"],
    ["quiet", "ground"],
    ["on-accent", "accent"],
    ["ill", "panel"],
    ["wait", "panel"],
    ["live", "panel"],
    ["ground", "ill"],
  ])("%s can be read on %s", (ink, ground) => {
    expect(ratio(ink, ground)).toBeGreaterThanOrEqual(4.5);
  });

  it("its plots and focus rings are seen", () => {
    for (const ground of ["panel", "raised", "ground"]) expect(ratio("accent", ground)).toBeGreaterThanOrEqual(3);
  });
});
