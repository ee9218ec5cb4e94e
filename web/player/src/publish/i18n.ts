// The messages of the page that publishes a camera.

import { interpolate, type Language, pickLanguage } from "../core/i18n.ts";

const en = {
  title: "Publish {camera}",
  camera: "Camera",
  microphone: "Microphone",
  none: "None",
  token: "Token",
  tokenHelp: "A token with the scope publish.",
  start: "Publish",
  stop: "Stop",
  idle: "Not published",
  connecting: "Connecting…",
  live: "Live, {width} × {height}, {rate} kbit/s",
  retrying: "Lost. It is tried again in {seconds} s.",
  denied: "The browser may not use the camera. Allow it in the settings of this page.",
  noDevice: "There is no camera, or another program uses it.",
  insecure: "A browser gives cameras to pages over HTTPS only, or on localhost.",
  wrongToken: "This token is not valid.",
  forbidden: "This token may not publish this camera.",
  unknown: "There is no such camera.",
  pulled: "This camera is not published by a browser: its url is not whip:.",
  noH264: "This browser cannot send H.264.",
  failed: "The request failed: {message}",
};

export type PublishMessageKey = keyof typeof en;

const ko: Record<PublishMessageKey, string> = {
  title: "{camera} 송출",
  camera: "카메라",
  microphone: "마이크",
  none: "없음",
  token: "토큰",
  tokenHelp: "publish 권한이 있는 토큰이 필요합니다.",
  start: "송출 시작",
  stop: "중지",
  idle: "송출하지 않음",
  connecting: "연결 중…",
  live: "라이브, {width} × {height}, {rate} kbit/s",
  retrying: "연결이 끊어졌습니다. {seconds}초 후에 다시 시도합니다.",
  denied: "브라우저가 카메라를 사용할 수 없습니다. 이 페이지의 설정에서 허용하세요.",
  noDevice: "카메라가 없거나 다른 프로그램에서 사용 중입니다.",
  insecure: "브라우저는 HTTPS 또는 localhost 페이지에서만 카메라를 허용합니다.",
  wrongToken: "유효하지 않은 토큰입니다.",
  forbidden: "이 토큰으로는 이 카메라를 송출할 수 없습니다.",
  unknown: "그런 카메라가 없습니다.",
  pulled: "브라우저로 송출하는 카메라가 아닙니다. url이 whip:이 아닙니다.",
  noH264: "이 브라우저는 H.264를 보낼 수 없습니다.",
  failed: "요청을 처리하지 못했습니다: {message}",
};

/** The language of the page. `?lang=` overrides that of the browser. */
export const language: Language = pickLanguage([
  ...(new URLSearchParams(location.search).get("lang") ?? "").split(",").filter(Boolean),
  ...navigator.languages,
]);

export function t(key: PublishMessageKey, values: Record<string, string | number> = {}): string {
  return interpolate((language === "ko" ? ko : en)[key], values);
}
