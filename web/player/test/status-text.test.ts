import { describe, expect, it } from "vitest";
import { TransportFallback } from "../src/core/fallback.ts";
import { liveStatusText } from "../src/core/status-text.ts";
import type { Failure } from "../src/core/transports.ts";

function afterFailure(failure: Failure): TransportFallback {
  const fallback = new TransportFallback();
  fallback.start(0);
  fallback.failed(fallback.attempt?.id ?? 0, failure, 0);
  fallback.frame(fallback.attempt?.id ?? 0, 0);
  return fallback;
}

describe("liveStatusText", () => {
  it("shows the transport and the latency while live", () => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.frame(fallback.attempt?.id ?? 0, 0);
    expect(liveStatusText(fallback, "door", 83, "en")).toEqual({
      status: "live",
      label: "Live",
      detail: "WebRTC · 85 ms",
      notice: "",
    });
    expect(liveStatusText(fallback, "door", null, "ko")).toMatchObject({ label: "라이브", detail: "WebRTC" });
  });

  it.each(["en", "ko"] as const)("does not call a picture live that is five seconds old (%s)", (language) => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.frame(fallback.attempt?.id ?? 0, 0);
    const live = liveStatusText(fallback, "door", 4999, language);
    const late = liveStatusText(fallback, "door", 5000, language);
    expect(live.status).toBe("live");
    expect(late.status).toBe("connecting");
    expect(late.label).not.toBe(live.label);
  });

  it("says that a slow network skips frames", () => {
    const fallback = new TransportFallback();
    fallback.start(0);
    const id = fallback.attempt?.id ?? 0;
    fallback.frame(id, 0);
    fallback.setDegraded(id, true);
    expect(liveStatusText(fallback, "door", null, "en")).toMatchObject({
      status: "live",
      notice: expect.stringContaining("skipped"),
    });
    fallback.setDegraded(id, false);
    expect(liveStatusText(fallback, "door", null, "en").notice).toBe("");
  });

  it("says why a lower transport plays, with the message of the gateway if there is one", () => {
    const unsupported = afterFailure({ kind: "unsupported", message: "H.265 cannot go over WebRTC" });
    expect(liveStatusText(unsupported, "door", null, "en").notice).toBe(
      "LL-HLS instead of WebRTC: H.265 cannot go over WebRTC",
    );
    const timeout = afterFailure({ kind: "timeout", message: "" });
    expect(liveStatusText(timeout, "door", null, "en").notice).toBe("LL-HLS instead of WebRTC: no video in time");
  });

  it("says what this browser cannot play in the language of the viewer, without the message of the gateway", () => {
    const failure: Failure = {
      kind: "unsupported",
      message: "the offer has no video section that receives it",
      messageKey: "noH264",
    };
    expect(liveStatusText(afterFailure(failure), "door", null, "en").notice).toBe(
      "LL-HLS instead of WebRTC: this browser cannot decode H.264 in WebRTC",
    );
    expect(liveStatusText(afterFailure(failure), "door", null, "ko").notice).toContain("이 브라우저는");
    const noCandidatePair: Failure = { kind: "connectionLost", message: "", messageKey: "noCandidatePair" };
    expect(liveStatusText(afterFailure(noCandidatePair), "door", null, "en").notice).toContain("does not connect");
  });

  it("says that the gateway does not answer only if there is no other reason", () => {
    const only = (failure: Failure): string => {
      const fallback = new TransportFallback(["webrtc"]);
      fallback.start(0);
      fallback.failed(fallback.attempt?.id ?? 0, failure, 0);
      expect(fallback.phase).toBe("waiting");
      return liveStatusText(fallback, "door", null, "en").notice;
    };
    expect(only({ kind: "unsupported", message: "", messageKey: "noWebRtc" })).toBe(
      "WebRTC: this browser has no WebRTC. Trying again…",
    );
    expect(only({ kind: "timeout", message: "" })).toBe("WebRTC: no video in time. Trying again…");
    expect(only({ kind: "connectionLost", message: "" })).toBe("The gateway does not answer. Trying again…");
    expect(only({ kind: "unreachable", message: "" })).toBe("The gateway does not answer. Trying again…");
  });

  it.each([
    ["failed", "No video", "error", "The camera sends no video: connection refused"],
    ["retrying", "Reconnecting", "error", "The camera has disconnected. Reconnecting: connection refused"],
    ["connecting", "Connecting", "connecting", "Connecting to the camera: connection refused"],
    ["stopped", "Stopped", "off", "Capture is stopped: connection refused"],
  ])("says how a camera is that is %s", (state, label, status, notice) => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.failed(fallback.attempt?.id ?? 0, { kind: "unavailable", message: "connection refused", state }, 0);
    expect(liveStatusText(fallback, "door", null, "en")).toEqual({ status, label, detail: "", notice });
  });

  it("puts the message of the gateway on a line of its own if the language is not English", () => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.failed(
      fallback.attempt?.id ?? 0,
      { kind: "unavailable", message: "connection refused", state: "failed" },
      0,
    );
    expect(liveStatusText(fallback, "door", null, "ko").notice).toBe("카메라 영상이 없습니다.\nconnection refused");
  });

  it.each([
    [401, "Sign in"],
    [403, "permission"],
  ])("explains status %i", (status, words) => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.failed(fallback.attempt?.id ?? 0, { kind: "unauthorized", message: "", status }, 0);
    expect(liveStatusText(fallback, "door", null, "en").notice).toContain(words);
  });

  it("names a camera that does not exist", () => {
    const fallback = new TransportFallback();
    fallback.start(0);
    fallback.failed(fallback.attempt?.id ?? 0, { kind: "notFound", message: "", status: 404 }, 0);
    expect(liveStatusText(fallback, "attic", null, "en").notice).toContain("attic");
  });
});
