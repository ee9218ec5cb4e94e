import { expect, it } from "vitest";
import { base64url, browserName, bytesOf, isForKey, parseLabels, refusalOf, subscriptionId } from "../src/core/push.ts";

it("reads and writes base64url", () => {
  expect([...bytesOf("-_8A")]).toEqual([0xfb, 0xff, 0]);
  expect(base64url(new Uint8Array([0xfb, 0xff, 0, 1]))).toBe("-_8AAQ");
  expect(isForKey(bytesOf("-_8AAQ").buffer, "-_8AAQ")).toBe(true);
  expect(isForKey(bytesOf("-_8AAA").buffer, "-_8AAQ")).toBe(false);
  expect(isForKey(null, "-_8AAQ")).toBe(false);
});

it("computes the gateway's id of an endpoint", async () => {
  // tests/web/push/test_service.py has the same.
  expect(await subscriptionId("https://push.example/a")).toBe("N48TyEUUzJsv3wM_Ce7p_g");
});

it("says why a browser has made no subscription", () => {
  // The second is what Chromium throws in a private window, the third without a network.
  expect(refusalOf(new DOMException("User denied permission", "NotAllowedError"))).toBe("refused");
  expect(refusalOf(new DOMException("Registration failed - permission denied", "AbortError"))).toBe("noService");
  expect(refusalOf(new DOMException("Registration failed - push service error", "AbortError"))).toBe("noService");
  expect(refusalOf(new TypeError("Failed to fetch"))).toBeNull();
});

it("takes labels with commas, and none for all", () => {
  expect(parseLabels(" person, 사람 ,, person")).toEqual(["person", "사람"]);
  expect(parseLabels(" , ")).toBeNull();
});

it.each([
  ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1", "Safari, iPhone"],
  ["Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36", "Chrome, Android"],
  ["Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36 Edg/130.0", "Edge, Windows"],
  ["curl", "Browser"],
])("names %s", (userAgent, name) => expect(browserName(userAgent)).toBe(name));
