import { describe, expect, it } from "vitest";
import { type Failure, TransportFallback } from "../src/core/fallback.ts";
import { liveStatusText } from "../src/core/status-text.ts";

function fallen(failure: Failure): TransportFallback {
  const fallback = new TransportFallback();
  fallback.start(0);
  fallback.failed(fallback.attempt?.id ?? 0, failure, 0);
  fallback.picture(fallback.attempt?.id ?? 0, 0);
  return fallback;
}

describe("what is going on", () => {
  it("is live, over what, and how live", () => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.picture(fallback.attempt?.id ?? 0, 0);
    expect(liveStatusText(fallback, "door", 83, "en")).toEqual({
      tone: "live",
      label: "Live",
      more: "WebRTC · 85 ms",
      notice: "",
    });
    expect(liveStatusText(fallback, "door", null, "ko")).toMatchObject({ label: "라이브", more: "WebRTC" });
  });

  it("says that the network leaves pictures out", () => {
    const fallback = new TransportFallback();
    fallback.start(0);
    const id = fallback.attempt?.id ?? 0;
    fallback.picture(id, 0);
    fallback.slow(id, true);
    expect(liveStatusText(fallback, "door", null, "en")).toMatchObject({
      tone: "live",
      notice: expect.stringContaining("left out"),
    });
    fallback.slow(id, false);
    expect(liveStatusText(fallback, "door", null, "en").notice).toBe("");
  });

  it("says why it is not the best transport, in the gateway's words where it has some", () => {
    const refused = fallen({ kind: "refused", message: "H.265 cannot go over WebRTC" });
    expect(liveStatusText(refused, "door", null, "en").notice).toBe(
      "LL-HLS instead of WebRTC: H.265 cannot go over WebRTC",
    );
    const timeout = fallen({ kind: "timeout", message: "" });
    expect(liveStatusText(timeout, "door", null, "en").notice).toBe("LL-HLS instead of WebRTC: no picture in time");
  });

  it("says what this browser cannot do, in the reader's language and not in the gateway's", () => {
    const failure: Failure = {
      kind: "refused",
      message: "the offer has no video section that receives it",
      word: "noH264",
    };
    expect(liveStatusText(fallen(failure), "door", null, "en").notice).toBe(
      "LL-HLS instead of WebRTC: this browser cannot decode H.264 in WebRTC",
    );
    expect(liveStatusText(fallen(failure), "door", null, "ko").notice).toContain("이 브라우저는");
    const noWay: Failure = { kind: "broken", message: "", word: "noWay" };
    expect(liveStatusText(fallen(noWay), "door", null, "en").notice).toContain("makes no connection");
  });

  it("does not blame the gateway where nothing plays for another reason", () => {
    const only = (failure: Failure): string => {
      const fallback = new TransportFallback(["webrtc"]);
      fallback.start(0);
      fallback.failed(fallback.attempt?.id ?? 0, failure, 0);
      expect(fallback.phase).toBe("waiting");
      return liveStatusText(fallback, "door", null, "en").notice;
    };
    expect(only({ kind: "refused", message: "", word: "noWebRtc" })).toBe(
      "WebRTC: this browser has no WebRTC. Trying again…",
    );
    expect(only({ kind: "timeout", message: "" })).toBe("WebRTC: no picture in time. Trying again…");
    expect(only({ kind: "broken", message: "" })).toBe("No answer from the gateway. Trying again…");
    expect(only({ kind: "unreachable", message: "" })).toBe("No answer from the gateway. Trying again…");
  });

  it.each([
    ["failed", "No picture", "ill", "The camera gives no picture: nobody listens"],
    ["retrying", "Reconnecting", "ill", "The camera is gone. Reconnecting: nobody listens"],
    ["connecting", "Connecting", "wait", "The camera is coming up: nobody listens"],
    ["stopped", "Stopped", "off", "Capture is stopped: nobody listens"],
  ])("says how a camera is that is %s", (state, label, tone, notice) => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.failed(fallback.attempt?.id ?? 0, { kind: "unavailable", message: "nobody listens", state }, 0);
    expect(liveStatusText(fallback, "door", null, "en")).toEqual({ tone, label, more: "", notice });
  });

  it("puts the gateway's sentence on a line of its own where the language is another", () => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.failed(fallback.attempt?.id ?? 0, { kind: "unavailable", message: "nobody listens", state: "failed" }, 0);
    expect(liveStatusText(fallback, "door", null, "ko").notice).toBe("카메라 영상이 없습니다.\nnobody listens");
  });

  it.each([
    [401, "sign in"],
    [403, "may not"],
  ])("tells 401 and 403 in words: %s", (status, words) => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.failed(fallback.attempt?.id ?? 0, { kind: "denied", message: "", status }, 0);
    expect(liveStatusText(fallback, "door", null, "en").notice).toContain(words);
  });

  it("names a camera that does not exist", () => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.failed(fallback.attempt?.id ?? 0, { kind: "missing", message: "", status: 404 }, 0);
    expect(liveStatusText(fallback, "attic", null, "en").notice).toContain("attic");
  });
});
