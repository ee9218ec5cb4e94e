// The messages of the dialog of notifications.

import { interpolate } from "../core/i18n.ts";
import type { PushKind } from "../core/push.ts";
import { language } from "./i18n.ts";
import type { PushObstacle } from "./push.ts";

type Keys = `kind_${PushKind}` | `no_${PushObstacle}`;

const en = {
  notifications: "Notifications",
  help: "This browser shows a notification when something happens, also while the page is closed.",
  kinds: "What for",
  "kind_event.created": "Events",
  "kind_camera.down": "A camera is down",
  "kind_camera.up": "A camera is back",
  "kind_disk.low": "The disk is almost full",
  "kind_problem.begun": "Problems of the gateway",
  labels: "Events with these labels only",
  labelsHint: "person, ring",
  cameras: "Cameras",
  quiet: "Quiet hours",
  from: "From",
  to: "To",
  turnOn: "Turn on",
  save: "Save",
  turnOff: "Turn off here",
  sendTest: "Send a test",
  testSent: "The push service has taken the test.",
  testFailed: "The test was not taken: {message}",
  saved: "Notifications are on.",
  refused: "The browser does not allow notifications for this page.",
  noService: "The browser got no subscription: it does not reach its push service, or this is a private window.",
  chooseKind: "Choose what for.",
  chooseCamera: "Choose a camera.",
  browsers: "Browsers that are notified",
  thisBrowser: "this browser",
  notDelivered: "{message}",
  lastDelivered: "last on {time}",
  nothingYet: "nothing sent yet",
  testOf: "Send a test to {name}",
  removeOf: "Remove {name}",
  no_insecure: "Notifications need HTTPS. See “Install on a phone, get notified” in the documentation.",
  no_addToHomeScreen:
    "On iPhone and iPad, first add this page to the home screen (Share, “Add to Home Screen”), and open it there.",
  no_unsupported: "This browser has no notifications from pages, or does not allow them in this window.",
  no_denied: "Notifications of this page are blocked. Allow them in the settings of the browser.",
} satisfies Record<Keys, string> & Record<string, string>;

export type NotificationsMessageKey = keyof typeof en;

const ko: Record<NotificationsMessageKey, string> = {
  notifications: "알림",
  help: "페이지를 닫아도 일이 생기면 이 브라우저에 알림이 표시됩니다.",
  kinds: "알림 종류",
  "kind_event.created": "이벤트",
  "kind_camera.down": "카메라 영상 끊김",
  "kind_camera.up": "카메라 영상 복구",
  "kind_disk.low": "디스크 공간 부족",
  "kind_problem.begun": "게이트웨이 문제",
  labels: "다음 라벨의 이벤트만",
  labelsHint: "person, ring",
  cameras: "카메라",
  quiet: "방해 금지 시간",
  from: "시작",
  to: "끝",
  turnOn: "켜기",
  save: "저장",
  turnOff: "이 브라우저에서 끄기",
  sendTest: "시험 알림 보내기",
  testSent: "푸시 서비스가 시험 알림을 받았습니다.",
  testFailed: "푸시 서비스가 시험 알림을 받지 않았습니다. 이유는 게이트웨이 로그에 있습니다.",
  saved: "알림이 켜졌습니다.",
  refused: "브라우저가 이 페이지의 알림을 허용하지 않습니다.",
  noService: "브라우저가 알림을 구독하지 못했습니다. 푸시 서비스에 연결하지 못하거나 시크릿 창입니다.",
  chooseKind: "알림 종류를 선택하세요.",
  chooseCamera: "카메라를 선택하세요.",
  browsers: "알림을 받는 브라우저",
  thisBrowser: "이 브라우저",
  notDelivered: "푸시 서비스가 마지막 알림을 받지 않았습니다",
  lastDelivered: "마지막 알림 {time}",
  nothingYet: "아직 보낸 알림 없음",
  testOf: "{name}에 시험 알림 보내기",
  removeOf: "{name} 삭제",
  no_insecure: "알림에는 HTTPS가 필요합니다. 문서의 “Install on a phone, get notified”를 참고하세요.",
  no_addToHomeScreen:
    "iPhone과 iPad에서는 먼저 이 페이지를 홈 화면에 추가한 뒤(공유, “홈 화면에 추가”) 거기에서 여세요.",
  no_unsupported: "이 브라우저는 페이지의 알림을 지원하지 않거나, 이 창에서 허용하지 않습니다.",
  no_denied: "이 페이지의 알림이 차단되어 있습니다. 브라우저 설정에서 허용하세요.",
};

export function t(key: NotificationsMessageKey, values: Record<string, string | number> = {}): string {
  return interpolate((language === "ko" ? ko : en)[key], values);
}
