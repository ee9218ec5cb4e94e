import { describe, expect, it } from "vitest";
import { formatDuration, interpolate, LANGUAGES, pickLanguage, translate } from "../src/core/i18n.ts";

describe("words", () => {
  it("has the same gaps in every language", () => {
    const gaps = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();
    for (const [key, text] of Object.entries(LANGUAGES.en)) {
      expect(gaps(LANGUAGES.ko[key as keyof typeof LANGUAGES.en]), key).toEqual(gaps(text));
    }
  });

  it("takes the reader's first language that it speaks", () => {
    expect(pickLanguage(["de-DE", "ko-KR", "en"])).toBe("ko");
    expect(pickLanguage(["fr"])).toBe("en");
  });

  it("fills in what is given", () => {
    expect(interpolate("{a} and {b}", { a: 1 })).toBe("1 and {b}");
    expect(translate("ko", "missing", { camera: "door" })).toContain("door");
  });

  it("shortens durations", () => {
    expect([formatDuration(0), formatDuration(83), formatDuration(1240)]).toEqual(["< 5 ms", "85 ms", "1.2 s"]);
  });
});
