import { describe, expect, it } from "vitest";
import { Api } from "../src/core/api.ts";
import { cameraReason, errorText } from "../src/core/error-texts.ts";

const body = (about: object) => JSON.stringify({ message: "in English", ...about });

describe("errors in Korean", () => {
  const korean = new Api("", null, "ko");

  it("say what the reason says, with its values", () => {
    const taken = { error: "conflict", reason: "camera_exists", values: { camera_id: "door" } };
    expect(korean.errorOf(409, body(taken)).message).toBe("“door” 카메라가 이미 있습니다. 다른 ID를 선택하세요.");
    expect(new Api("").errorOf(409, body(taken)).message).toBe("in English");
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
