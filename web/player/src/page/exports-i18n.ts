// The messages of the view of exports.

import type { Finding } from "../core/evidence.ts";
import { interpolate } from "../core/i18n.ts";
import { language } from "./i18n.ts";

const en = {
  exports: "Exports and evidence",
  exportRecordings: "Export recordings",
  newExport: "New export",
  cameras: "Cameras",
  from: "From",
  to: "To",
  burnIn: "Write the time into the pictures (takes longer)",
  start: "Export",
  chooseCamera: "Choose a camera.",
  chooseTimes: "Choose when it begins and ends.",
  exportList: "Exports",
  noExports: "Nothing has been exported.",
  state_waiting: "waiting",
  state_running: "in progress",
  state_done: "done",
  state_failed: "failed",
  withTime: "time in the pictures",
  incomplete: "Incomplete: {message}",
  until: "kept until {time}",
  download: "Download",
  share: "Share a link",
  shareOf: "Link to the export of {what}",
  copied: "The link is copied. It works until {time}.",
  linkBelow: "Copy the link. It works until {time}.",
  linkForAll: "Everybody who can reach this gateway can open the link.",
  delete: "Delete",
  deleteConfirm: "Delete the export of {what}? The recordings stay.",
  verify: "Verify a file",
  verifyHelp: "An export (ZIP) or a recorded file (MP4). It stays on this computer.",
  chooseFile: "Choose a file",
  verifying: "Reading… {percent} %",
  verified: "{name}: nothing is wrong.",
  notVerified: "{name}: something is wrong.",
  cannotVerify: "{name} could not be verified: {message}",
  tooLargeHere:
    "this browser does not verify signatures, and the file has too many for the gateway. Use liveedge verify.",
  key: "Key of this gateway",
};

export type ExportsMessageKey = keyof typeof en;

const ko: Record<ExportsMessageKey, string> = {
  exports: "내보내기와 증거",
  exportRecordings: "녹화 내보내기",
  newExport: "새 내보내기",
  cameras: "카메라",
  from: "시작",
  to: "끝",
  burnIn: "화면에 시각 표시 (시간이 더 걸림)",
  start: "내보내기",
  chooseCamera: "카메라를 선택하세요.",
  chooseTimes: "시작과 끝 시각을 선택하세요.",
  exportList: "내보내기 목록",
  noExports: "내보낸 녹화가 없습니다.",
  state_waiting: "대기 중",
  state_running: "진행 중",
  state_done: "완료",
  state_failed: "실패",
  withTime: "화면에 시각 표시",
  incomplete: "불완전한 내보내기: {message}",
  until: "{time}까지 보관",
  download: "다운로드",
  share: "링크 공유",
  shareOf: "{what} 내보내기 링크",
  copied: "링크를 복사했습니다. {time}까지 사용할 수 있습니다.",
  linkBelow: "링크를 복사하세요. {time}까지 사용할 수 있습니다.",
  linkForAll: "이 게이트웨이에 접속할 수 있으면 누구나 링크를 열 수 있습니다.",
  delete: "삭제",
  deleteConfirm: "{what} 내보내기를 삭제할까요? 녹화는 그대로 남습니다.",
  verify: "파일 검증",
  verifyHelp: "내보낸 파일(ZIP) 또는 녹화 파일(MP4). 파일은 이 컴퓨터 밖으로 나가지 않습니다.",
  chooseFile: "파일 선택",
  verifying: "읽는 중… {percent}%",
  verified: "{name}: 이상이 없습니다.",
  notVerified: "{name}: 이상이 있습니다.",
  cannotVerify: "{name}을(를) 검증하지 못했습니다: {message}",
  tooLargeHere:
    "이 브라우저는 서명을 검증할 수 없고, 게이트웨이에 보내기에는 서명이 너무 많습니다. liveedge verify를 사용하세요.",
  key: "이 게이트웨이의 키",
};

const findingsEn: Record<Finding["kind"], string> = {
  notAnExport: "This is no export of liveedge, or it is not complete.",
  manifestChanged: "The manifest was changed, or its signature was.",
  ownKey: "Signed by this gateway (key {about}).",
  otherKey: "Signed with the key {about}, which is not this gateway's.",
  clipRight: "{about} is as it was exported.",
  clipChanged: "{about} was changed.",
  clipMissing: "{about} is missing.",
  clipAdded: "{about} was put in.",
  sourceChanged: "{about}: the recording had been changed before it was exported.",
  sourceMissing: "{about}: the recording was missing when it was exported.",
  sourceUnsigned: "{about}: the recording was not signed yet.",
  cameraName: "Camera {about}",
  nodeAway: "What {about} recorded is not in it: that node of the cluster was away.",
  picturesLeftOut: "{about} pictures could not be decoded when the time was burned in. They are not in it.",
  recordsRight: "{about} signed recordings, in an unbroken chain.",
  recordWrong: "{about}: the signature is wrong.",
  chainBroken: "{about}: the record before it is missing, or was changed.",
  deleted: "{about}: retention has deleted the recording.",
  fileRight: "It is as it was recorded: {about}.",
  fileUnknown: "No recording that this gateway signed has this content (SHA-256 {about}).",
};

const findingsKo: Record<Finding["kind"], string> = {
  notAnExport: "liveedge에서 내보낸 파일이 아니거나 완전하지 않습니다.",
  manifestChanged: "매니페스트나 서명이 변경되었습니다.",
  ownKey: "이 게이트웨이가 서명했습니다 (키 {about}).",
  otherKey: "이 게이트웨이의 키가 아닌 {about} 키로 서명되었습니다.",
  clipRight: "{about}: 내보낸 그대로입니다.",
  clipChanged: "{about}: 변경되었습니다.",
  clipMissing: "{about}: 없습니다.",
  clipAdded: "{about}: 나중에 추가되었습니다.",
  sourceChanged: "{about}: 내보내기 전에 녹화가 변경되었습니다.",
  sourceMissing: "{about}: 내보낼 때 녹화가 없었습니다.",
  sourceUnsigned: "{about}: 아직 서명되지 않은 녹화입니다.",
  cameraName: "카메라 {about}",
  nodeAway: "{about} 노드의 녹화는 빠져 있습니다. 내보낼 때 연결할 수 없었습니다.",
  picturesLeftOut: "{about}개의 프레임은 시각을 표시할 때 디코딩할 수 없어 빠졌습니다.",
  recordsRight: "{about}개의 서명된 녹화가 끊김 없이 이어집니다.",
  recordWrong: "{about}: 서명이 올바르지 않습니다.",
  chainBroken: "{about}: 앞의 기록이 없거나 변경되었습니다.",
  deleted: "{about}: 보관 기간이 지나 삭제된 녹화입니다.",
  fileRight: "녹화된 그대로입니다: {about}.",
  fileUnknown: "이 게이트웨이가 서명한 녹화 중에 이 내용이 없습니다 (SHA-256 {about}).",
};

export function t(key: ExportsMessageKey, values: Record<string, string | number> = {}): string {
  return interpolate((language === "ko" ? ko : en)[key], values);
}

/** A finding as a sentence. */
export function sentence({ kind, about }: Finding): string {
  return interpolate((language === "ko" ? findingsKo : findingsEn)[kind], { about });
}
