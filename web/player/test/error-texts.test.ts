import { describe, expect, it } from "vitest";
import { Api } from "../src/core/api.ts";
import { cameraReason, errorText } from "../src/core/error-texts.ts";

const body = (about: object) => JSON.stringify({ message: "in English", ...about });

describe("errors in Korean", () => {
  const korean = new Api("", null, "ko");

  it("say what the reason says, with its values", () => {
    const taken = { error: "conflict", reason: "camera_exists", values: { camera_id: "door" } };
    expect(korean.errorOf(409, body(taken)).message).toBe("“door” 카메라가 이미 있습니다. 다른 ID를 선택하세요.");
    expect(new Api("").errorOf(409, body(taken)).message).toBe("There is a camera “door” already. Choose another id.");
    expect(korean.errorOf(409, body(taken)).code).toBe("conflict");
  });

  it("name a field as the form does, and its limit", () => {
    const values = { field: "sub_url", problem: "string_too_long", max_length: 100 };
    const text = errorText("ko", { error: "bad_request", reason: "field_invalid", values });
    expect(text).toBe("서브 스트림 주소: 100자 이하여야 합니다.");
    const unknown = { field: "frame_rate", problem: "something new" };
    expect(errorText("ko", { error: "bad_request", reason: "field_invalid", values: unknown })).toBe(
      "frame_rate: 올바르지 않은 값입니다.",
    );
  });

  it("list what is possible without English words", () => {
    const scheme = { field: "url", expected: "rtsp://, rtsps://" };
    expect(errorText("ko", { error: "bad_request", reason: "url_scheme", values: scheme })).toBe(
      "메인 스트림 주소: 주소는 다음 중 하나로 시작해야 합니다: rtsp://, rtsps://",
    );
    const values = { field: "record", problem: "literal_error", expected: "'always', 'capture' or 'never'" };
    expect(errorText("ko", { error: "bad_request", reason: "field_invalid", values })).toBe(
      "녹화: 다음 중 하나여야 합니다: 'always', 'capture', 'never'",
    );
  });

  it("say sizes as people do", () => {
    const values = { needed: 12_340_000_000, free: 1_000_000_000 };
    expect(errorText("ko", { error: "no_space", reason: "disk_too_full", values })).toContain("12.34 GB");
  });

  it("say what the code says where the reason is new, or has no values", () => {
    expect(errorText("ko", { error: "conflict", reason: "of a later version" })).toBe(
      "현재 상태에서는 할 수 없습니다.",
    );
    expect(errorText("ko", { error: "conflict", reason: "camera_exists" })).toBe("현재 상태에서는 할 수 없습니다.");
  });

  it("are the gateway's sentence where nothing is known", () => {
    expect(korean.errorOf(418, body({ error: "of a later version" })).message).toBe("in English");
    expect(cameraReason("ko", { error_code: "new", error_message: "no video" })).toBe("no video");
    expect(cameraReason("ko", { error_code: "no_route", error_message: "no way" })).toContain("네트워크 경로");
    expect(cameraReason("en", { error_code: "no_route", error_message: "no way" })).toBe("no way");
    expect(cameraReason("ko", {})).toBe("");
  });

  it("are known by their status alone where a proxy answers", () => {
    expect(korean.errorOf(502, "<html>Bad Gateway</html>").message).toBe("요청을 처리하지 못했습니다. (502)");
    expect(new Api("").errorOf(502, "<html>", "Bad Gateway")).toMatchObject({
      code: "http",
      message: "502 Bad Gateway",
    });
  });
});

describe("errors in English", () => {
  const english = new Api("");

  it("do not speak of the API", () => {
    const reasons: [string, object, string][] = [
      ["camera_unknown", { camera_id: "door" }, "There is no camera “door”."],
      ["limit_reached", { limit: 5 }, "There can be 5 at most. Delete one that is not needed."],
    ];
    for (const [reason, values, text] of reasons)
      expect(english.errorOf(404, body({ error: "not_found", reason, values })).message).toBe(text);
    expect(cameraReason("en", { error_code: "paused", error_message: "PATCH it" })).toContain("Resume it");
  });

  it("have times of the reader's clock", () => {
    const about = { error: "conflict", reason: "clip_format_changes" };
    const values = { at: "2026-11-22T18:50:02.000Z, 2026-11-22T19:10:05.000Z" };
    for (const language of ["en", "ko"] as const) {
      const text = errorText(language, { ...about, values });
      const format = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
      for (const each of values.at.split(", ")) expect(text).toContain(format.format(new Date(each)));
      expect(errorText(language, { ...about, values: { at: "soon" } })).toContain("soon");
    }
  });

  it("name a field as the form does", () => {
    const about = (message: string, field: string) =>
      JSON.stringify({ error: "bad_request", message, reason: "url_scheme", values: { field } });
    expect(english.errorOf(400, about("sub_url: it does not start with rtsp://", "sub_url")).message).toBe(
      "Address of the sub stream: it does not start with rtsp://",
    );
    expect(english.errorOf(400, about("frame_rate: must be above 0", "frame_rate")).message).toBe(
      "frame_rate: must be above 0",
    );
  });

  it("are the gateway's sentence where that says more", () => {
    expect(english.errorOf(401, body({ error: "unauthorized", reason: "token_unknown" })).message).toBe("in English");
    expect(english.errorOf(409, body({ error: "conflict", reason: "camera_exists" })).message).toBe("in English");
  });
});
