import { describe, expect, it } from "vitest";
import {
  levelOf,
  nextRendition,
  parseRendition,
  recordedRendition,
  renditionOfUrl,
  renditionQuery,
  tileOf,
} from "../src/core/rendition.ts";

const URLS = ["https://x/hls/sub/live.m3u8", "https://x/hls/sub/sub/live.m3u8?token=a/b"];

describe("renditions", () => {
  it("reads an attribute, and takes everything unknown for auto", () => {
    expect([null, "", "auto", "sub", "SUB", "4k"].map(parseRendition)).toEqual([
      "auto",
      "auto",
      "auto",
      "sub",
      "auto",
      "auto",
    ]);
  });

  it("goes through all of them", () => {
    expect(nextRendition("auto")).toBe("main");
    expect(nextRendition(nextRendition(nextRendition("auto")))).toBe("auto");
  });

  it("tells the size in device pixels", () => {
    expect(tileOf(320.2, 180, 2)).toEqual({ width: 641, height: 360 });
    expect(tileOf(0, 0, 2)).toBeNull();
    expect(renditionQuery("auto", { width: 641, height: 360 })).toBe("?width=641&height=360");
    expect(renditionQuery("sub", null)).toBe("?rendition=sub");
    expect(renditionQuery("auto", null)).toBe("");
  });

  it("plays the recording of the stream that is pinned, or that was shown live", () => {
    expect(recordedRendition("sub", "main")).toBe("sub");
    expect(recordedRendition("main", "sub")).toBe("main");
    expect(recordedRendition("auto", "sub")).toBe("sub");
    expect(recordedRendition("auto", null)).toBe("main");
  });

  it("finds the level of a stream, also of a camera that is called sub", () => {
    expect(URLS.map(renditionOfUrl)).toEqual(["main", "sub"]);
    expect(levelOf("sub", URLS)).toBe(1);
    expect(levelOf("main", URLS)).toBe(0);
    expect(levelOf("auto", URLS)).toBe(-1);
    expect(levelOf("sub", URLS.slice(0, 1))).toBe(-1);
  });
});
