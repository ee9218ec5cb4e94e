import { describe, expect, it } from "vitest";
import { declaresSound, initUrls, type Piece, stretchAt } from "../src/core/stretch.ts";

const SOUND = new Map([
  ["loud", true],
  ["loud too", true],
  ["silent", false],
]);

function pieces(...urls: string[]): Piece[] {
  return urls.map((url, place) => ({ programDateTime: 1000 * place, duration: 1, initSegment: { url } }));
}

describe("stretches of a recording", () => {
  it("is all of it while the tracks stay the same, whatever else changes", () => {
    const found = pieces("loud", "loud", "loud too");
    expect(initUrls(found)).toEqual(["loud", "loud too"]);
    expect(stretchAt(found, SOUND, 500)).toBeNull();
    expect(stretchAt([], SOUND, 500)).toBeNull();
  });

  it("ends where the sound ends, and where it begins again", () => {
    const found = pieces("loud", "loud too", "silent", "silent", "loud");
    expect(stretchAt(found, SOUND, 1900)).toEqual({ start: 0, end: 2000 });
    expect(stretchAt(found, SOUND, 2000)).toEqual({ start: 2000, end: 4000 });
    expect(stretchAt(found, SOUND, 4100)).toEqual({ start: 4000, end: 5000 });
  });

  it("is the next one for a time in a gap, and none after the end", () => {
    const found = pieces("loud", "silent").map((piece, place) => ({ ...piece, programDateTime: 60_000 * place }));
    expect(stretchAt(found, SOUND, 30_000)).toEqual({ start: 60_000, end: 61_000 });
    expect(stretchAt(found, SOUND, 61_000)).toBeNull();
  });

  it("reads the handlers of an init segment", () => {
    const bytes = (text: string) => new TextEncoder().encode(text).buffer as ArrayBuffer;
    expect(declaresSound(bytes("hdlr\0\0\0\0\0\0\0\0vide"))).toBe(false);
    expect(declaresSound(bytes("hdlr\0\0\0\0\0\0\0\0vide hdlr\0\0\0\0\0\0\0\0soun"))).toBe(true);
  });
});
