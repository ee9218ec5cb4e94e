import { describe, expect, it } from "vitest";
import { formatDuration, interpolate, LANGUAGES, pickLanguage, translate } from "../src/core/i18n.ts";

describe("messages", () => {
  it("have the same placeholders in every language", () => {
    const placeholders = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();
    for (const [key, text] of Object.entries(LANGUAGES.en)) {
      expect(placeholders(LANGUAGES.ko[key as keyof typeof LANGUAGES.en]), key).toEqual(placeholders(text));
    }
  });

  it("use the first wanted language that is supported", () => {
    expect(pickLanguage(["de-DE", "ko-KR", "en"])).toBe("ko");
    expect(pickLanguage(["fr"])).toBe("en");
  });

  it("fill in the given values", () => {
    expect(interpolate("{a} and {b}", { a: 1 })).toBe("1 and {b}");
    expect(translate("ko", "noSuchCamera", { camera: "door" })).toContain("door");
  });

  it("format durations", () => {
    expect([formatDuration(0), formatDuration(83), formatDuration(1240)]).toEqual(["< 5 ms", "85 ms", "1.2 s"]);
  });
});
