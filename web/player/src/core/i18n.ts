// Words, in the reader's language. English is the measure; a language has all of its keys.

const en = {
  // states of a camera
  stopped: "Stopped",
  connecting: "Connecting",
  live: "Live",
  retrying: "Reconnecting",
  failed: "No picture",
  // the player
  player: "Live picture of camera {camera}",
  recordingOf: "Recording of camera {camera}",
  starting: "Connecting to the live edge…",
  waiting: "No answer from the gateway. Trying again…",
  missing: "There is no camera “{camera}” here.",
  cameraStopped: "Capture is stopped.",
  cameraConnecting: "The camera is coming up…",
  cameraRetrying: "The camera is gone. Reconnecting…",
  cameraFailed: "The camera gives no picture.",
  signIn: "Please sign in to watch this camera.",
  forbidden: "You may not watch this camera.",
  paused: "Paused",
  recorded: "Recording",
  webrtc: "WebRTC",
  hls: "LL-HLS",
  jpeg: "JPEG",
  mjpeg: "MJPEG",
  fell: "{to} instead of {from}: {why}",
  slow: "Your network does not carry all of this camera’s pictures: some are left out.",
  timeout: "no picture in time",
  stalled: "pictures stopped",
  broken: "the connection was lost",
  refused: "not possible for this camera",
  unavailable: "not there yet",
  noWebRtc: "this browser has no WebRTC",
  noH264: "this browser cannot decode H.264 in WebRTC",
  noWay: "this browser makes no connection to the gateway’s address",
  noCodec: "this browser cannot decode the camera’s video",
  unplayable: "{transport}: {why}. Trying again…",
  notRecorded: "Nothing was recorded at {time}.",
  play: "Play",
  pause: "Pause",
  mute: "Sound off",
  unmute: "Sound on",
  fullscreen: "Full screen",
};

export type MessageKey = keyof typeof en;

const ko: Record<MessageKey, string> = {
  stopped: "중지됨",
  connecting: "연결 중",
  live: "라이브",
  retrying: "재연결 중",
  failed: "영상 없음",
  player: "{camera} 카메라 실시간 영상",
  recordingOf: "{camera} 카메라 녹화 영상",
  starting: "실시간 영상에 연결하는 중…",
  waiting: "게이트웨이가 응답하지 않습니다. 다시 시도하는 중…",
  missing: "“{camera}” 카메라가 없습니다.",
  cameraStopped: "캡처가 중지되었습니다.",
  cameraConnecting: "카메라를 준비하는 중…",
  cameraRetrying: "카메라 연결이 끊겼습니다. 다시 연결하는 중…",
  cameraFailed: "카메라 영상이 없습니다.",
  signIn: "이 카메라를 보려면 로그인하세요.",
  forbidden: "이 카메라를 볼 권한이 없습니다.",
  paused: "일시 정지",
  recorded: "녹화 재생",
  webrtc: "WebRTC",
  hls: "LL-HLS",
  jpeg: "JPEG",
  mjpeg: "MJPEG",
  fell: "{from} 대신 {to} 재생 중: {why}",
  slow: "네트워크가 느려 이 카메라의 일부 화면이 생략되고 있습니다.",
  timeout: "제한 시간 안에 영상을 받지 못함",
  stalled: "영상이 멈춤",
  broken: "연결이 끊어짐",
  refused: "이 카메라에서는 사용할 수 없음",
  unavailable: "아직 준비되지 않음",
  noWebRtc: "이 브라우저에는 WebRTC가 없음",
  noH264: "이 브라우저는 WebRTC에서 H.264를 디코딩할 수 없음",
  noWay: "이 브라우저가 게이트웨이 주소로 연결하지 않음",
  noCodec: "이 브라우저는 이 카메라의 영상을 디코딩할 수 없음",
  unplayable: "{transport}: {why}. 다시 시도하는 중…",
  notRecorded: "{time}에 녹화된 영상이 없습니다.",
  play: "재생",
  pause: "일시 정지",
  mute: "소리 끄기",
  unmute: "소리 켜기",
  fullscreen: "전체 화면",
};

export const LANGUAGES = { en, ko } as const;
export type Language = keyof typeof LANGUAGES;

/** The first language of the reader's that we speak. */
export function pickLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const language = tag.toLowerCase().split("-")[0];
    if (language === "ko" || language === "en") return language;
  }
  return "en";
}

export function interpolate(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** A word in a language. */
export function translate(language: Language, word: MessageKey, values: Record<string, string | number> = {}): string {
  return interpolate(LANGUAGES[language][word], values);
}

/** A duration as people read it: 85 ms, 1.2 s. Below 5 ms nothing is known that well. */
export function formatDuration(ms: number): string {
  if (Math.abs(ms) < 2.5) return "< 5 ms";
  return Math.abs(ms) < 995 ? `${Math.round(ms / 5) * 5} ms` : `${(ms / 1000).toFixed(1)} s`;
}
