// The messages of the player. English defines the keys, and every other language has all of them.

const en = {
  // states of a camera
  stopped: "Stopped",
  connecting: "Connecting",
  live: "Live",
  late: "Delayed",
  retrying: "Reconnecting",
  failed: "No video",
  // the player
  player: "Live video of camera {camera}",
  recordingOf: "Recording of camera {camera}",
  starting: "Connecting to the live edge…",
  waiting: "The gateway does not answer. Trying again…",
  originRefused: "The gateway does not allow pages of {origin}: add it to CORS_ORIGINS.",
  noSuchCamera: "There is no camera “{camera}”.",
  cameraStopped: "Capture is stopped.",
  cameraConnecting: "Connecting to the camera…",
  cameraRetrying: "The camera has disconnected. Reconnecting…",
  cameraFailed: "The camera sends no video.",
  signIn: "Sign in to watch this camera.",
  forbidden: "You do not have permission to watch this camera.",
  paused: "Paused",
  recorded: "Recording",
  webrtc: "WebRTC",
  hls: "LL-HLS",
  jpeg: "JPEG",
  mjpeg: "MJPEG",
  main: "Main",
  sub: "Sub",
  qualityAuto: "Quality: automatic",
  qualityMain: "Quality: main stream",
  qualitySub: "Quality: sub stream",
  fallback: "{to} instead of {from}: {reason}",
  degraded: "Your network is too slow for this camera. Some frames are skipped.",
  timeout: "no video in time",
  stalled: "the video stopped",
  connectionLost: "the connection was lost",
  unsupported: "not supported for this camera",
  unavailable: "not available yet",
  noWebRtc: "this browser has no WebRTC",
  noH264: "this browser cannot decode H.264 in WebRTC",
  noCandidatePair: "this browser does not connect to the gateway’s address",
  unplayable: "{transport}: {reason}. Trying again…",
  notRecorded: "Nothing was recorded at {time}.",
  recordingFailed: "The recording cannot be loaded. Trying again…",
  play: "Play",
  pause: "Pause",
  mute: "Mute",
  unmute: "Unmute",
  fullscreen: "Full screen",
  pictureInPicture: "Picture-in-picture",
  zoomIn: "Zoom in",
  zoomOut: "Zoom out",
  talk: "Talk: hold while you speak",
  talkStarting: "One moment…",
  talkNow: "Speak now",
  talkAgain: "The microphone is ready: hold the button again.",
  talkBusy: "Somebody else is talking.",
  talkEnded: "You are not heard any more. {reason}",
  talkFailed: "The camera cannot be talked to. {reason}",
  talkDenied: "Allow the microphone in your browser, and hold the button again.",
  talkNoMicrophone: "There is no microphone, or another program uses it.",
  talkInsecure: "Browsers give the microphone only to pages over HTTPS.",
};

export type MessageKey = keyof typeof en;

const ko: Record<MessageKey, string> = {
  stopped: "중지됨",
  connecting: "연결 중",
  live: "라이브",
  late: "지연됨",
  retrying: "재연결 중",
  failed: "영상 없음",
  player: "{camera} 카메라 실시간 영상",
  recordingOf: "{camera} 카메라 녹화 영상",
  starting: "실시간 영상에 연결하는 중…",
  waiting: "게이트웨이가 응답하지 않습니다. 다시 시도하는 중…",
  originRefused: "게이트웨이가 {origin}의 페이지를 허용하지 않습니다. CORS_ORIGINS에 추가하세요.",
  noSuchCamera: "“{camera}” 카메라가 없습니다.",
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
  main: "메인",
  sub: "서브",
  qualityAuto: "화질: 자동",
  qualityMain: "화질: 메인 스트림",
  qualitySub: "화질: 서브 스트림",
  fallback: "{from} 대신 {to} 재생 중: {reason}",
  degraded: "네트워크가 느려 이 카메라의 일부 프레임을 건너뛰고 있습니다.",
  timeout: "제한 시간 안에 영상을 받지 못함",
  stalled: "영상이 멈춤",
  connectionLost: "연결이 끊어짐",
  unsupported: "이 카메라에서는 사용할 수 없음",
  unavailable: "아직 준비되지 않음",
  noWebRtc: "이 브라우저에는 WebRTC가 없음",
  noH264: "이 브라우저는 WebRTC에서 H.264를 디코딩할 수 없음",
  noCandidatePair: "이 브라우저가 게이트웨이 주소로 연결하지 않음",
  unplayable: "{transport}: {reason}. 다시 시도하는 중…",
  notRecorded: "{time}에 녹화된 영상이 없습니다.",
  recordingFailed: "녹화를 불러올 수 없습니다. 다시 시도합니다…",
  play: "재생",
  pause: "일시 정지",
  mute: "음소거",
  unmute: "음소거 해제",
  fullscreen: "전체 화면",
  pictureInPicture: "화면 속 화면",
  zoomIn: "확대",
  zoomOut: "축소",
  talk: "말하기: 누른 채로 말하세요",
  talkStarting: "잠시만 기다리세요…",
  talkNow: "지금 말하세요",
  talkAgain: "마이크가 준비되었습니다. 버튼을 다시 누르세요.",
  talkBusy: "다른 사람이 말하고 있습니다.",
  talkEnded: "더 이상 들리지 않습니다. {reason}",
  talkFailed: "이 카메라로 말할 수 없습니다. {reason}",
  talkDenied: "브라우저에서 마이크를 허용한 다음 버튼을 다시 누르세요.",
  talkNoMicrophone: "마이크가 없거나 다른 프로그램이 사용 중입니다.",
  talkInsecure: "브라우저는 HTTPS 페이지에만 마이크를 허용합니다.",
};

export const LANGUAGES = { en, ko } as const;
export type Language = keyof typeof LANGUAGES;

/** The first of the wanted languages (BCP 47 tags) that is supported, or English. */
export function pickLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const language = tag.toLowerCase().split("-")[0];
    if (language === "ko" || language === "en") return language;
  }
  return "en";
}

/** Fill in `{name}` placeholders. Unknown names stay as they are. */
export function interpolate(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** A message in a language, with its placeholders filled in. */
export function translate(language: Language, key: MessageKey, values: Record<string, string | number> = {}): string {
  return interpolate(LANGUAGES[language][key], values);
}

/** A duration for people: 85 ms, 1.2 s. Less than 5 ms cannot be measured. */
export function formatDuration(ms: number): string {
  if (Math.abs(ms) < 2.5) return "< 5 ms";
  return Math.abs(ms) < 995 ? `${Math.round(ms / 5) * 5} ms` : `${(ms / 1000).toFixed(1)} s`;
}
