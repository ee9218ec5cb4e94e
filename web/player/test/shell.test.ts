import { describe, expect, it } from "vitest";
import { isOutdated, notificationUrl, type Shell, shellFile } from "../src/core/shell.ts";

const shell: Shell = { version: "b", files: ["", "static/page.css", "static/player.js"] };

describe.each(["https://nvr.example/", "https://nvr.example/cameras/"])("the shell of %s", (scope) => {
  const file = (path: string, method = "GET", headers: Record<string, string> = {}) =>
    shellFile({ method, url: new URL(path, scope).href, headers: new Headers(headers) }, shell, scope);

  it("has the page and its files", () => {
    expect(file("")).toBe(scope);
    expect(file("static/page.css")).toBe(`${scope}static/page.css`);
  });
  it.each([
    "?token=x",
    "static/player.js?token=x",
    "api/status",
    "hls/door/index.m3u8",
    "snapshot/door.jpg",
    "whep/door",
    "static/other.js",
    "//other.example/",
  ])("does not have %s", (path) => expect(file(path)).toBeNull());
  it("has nothing that was asked for with a token, in part, or to change something", () => {
    expect(file("", "GET", { Authorization: "Bearer x" })).toBeNull();
    expect(file("static/page.css", "GET", { Range: "bytes=0-1" })).toBeNull();
    expect(file("", "POST")).toBeNull();
  });
});

it("deletes its own older versions alone", () => {
  expect(["liveedge-shell-a", "liveedge-shell-b", "other"].filter((name) => isOutdated(name, shell))).toEqual([
    "liveedge-shell-a",
  ]);
});

it("opens the page, whatever a message says", () => {
  const scope = "https://nvr.example/cameras/";
  expect(notificationUrl("#/camera/door?t=1", scope)).toBe("https://nvr.example/cameras/#/camera/door?t=1");
  for (const url of ["https://other.example/", "//other.example/", "javascript:alert(1)", "../x", null, 1])
    expect(notificationUrl(url, scope)).toBe("https://nvr.example/cameras/#/");
});
