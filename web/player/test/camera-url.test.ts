import { describe, expect, it } from "vitest";
import { withCredentials } from "../src/core/camera-url.ts";

describe("credentials", () => {
  it("may have any characters", () => {
    expect(withCredentials("rtsp://h:554/a?b=1", "a@b:c/", "p?#%20")).toBe(
      "rtsp://a%40b%3Ac%2F:p%3F%23%2520@h:554/a?b=1",
    );
  });

  it("are left out without a user", () => {
    expect(withCredentials("http://h/x", "", "secret")).toBe("http://h/x");
  });
});
