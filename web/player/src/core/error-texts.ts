// What went wrong, in the words of the page: from the code and the reason of an error, which are for programs.
// The gateway's own sentence, which is English, is shown only for what has no text here. In English that is each
// sentence that does not speak of the API.

import type { ApiReason, ErrorCode, ErrorReason, FieldProblem } from "../generated/errors.ts";
import { interpolate, type Language } from "./i18n.ts";

type Values = Record<string, string | number>;

/** What an answer says about an error. `message` is the English sentence. */
export interface ErrorAbout {
  error: string;
  message?: string | undefined;
  reason?: string | null | undefined;
  values?: Values | null | undefined;
}

/** What a sentence of its own has in every language: here are times. */
type PageReason = ApiReason | "clip_format_changes";

const en: Record<PageReason, string> = {
  camera_changed: "Somebody else has changed this camera meanwhile. Save again to replace what they changed.",
  camera_configured: "This camera is in liveedge.toml or the environment. Remove it there, or pause it.",
  camera_exists: "There is a camera “{camera_id}” already. Choose another id.",
  camera_unknown: "There is no camera “{camera_id}”.",
  clip_format_changes:
    "The camera changed its codec or the size of its picture at {at}. Save what is before and after that separately, or export it: an export has a file for each.",
  limit_reached: "There can be {limit} at most. Delete one that is not needed.",
  link_ended: "This link has ended. Ask its sender for another one.",
  link_gone: "This link has been revoked, or there was none.",
  link_unknown: "This link is not one of this gateway.",
  no_cluster: "This gateway is no node of a cluster.",
  no_sub_stream: "The camera “{camera_id}” has no sub stream. Add its address in the settings of the camera.",
  paused: "This camera is paused. Resume it in its settings.",
  subscription_gone: "These notifications have been deleted already.",
  token_gone: "This token has been revoked, or there was none.",
  token_missing: "This needs a sign-in or a token.",
  wall_gone: "This wall has been deleted.",
  webhook_unknown: "There is no such webhook.",
};

const ko: Record<ErrorCode | ErrorReason, string> = {
  // the request
  bad_request: "요청이 올바르지 않습니다.",
  conflict: "현재 상태에서는 할 수 없습니다.",
  content_too_large: "요청이 너무 큽니다.",
  forbidden: "이 작업을 할 권한이 없습니다.",
  forbidden_host: "이 주소로는 게이트웨이에 접속할 수 없습니다. ALLOWED_HOSTS를 확인하세요.",
  forbidden_origin: "게이트웨이가 이 페이지의 주소를 허용하지 않습니다. CORS_ORIGINS에 추가하세요.",
  http_error: "요청을 처리하지 못했습니다.",
  idempotency_key_reused: "같은 키로 다른 요청을 이미 보냈습니다.",
  internal: "게이트웨이에서 오류가 발생했습니다. 게이트웨이 로그를 확인하세요.",
  method_not_allowed: "지원하지 않는 요청입니다.",
  not_acceptable: "이 브라우저와 카메라가 함께 사용할 수 있는 영상 형식이 없습니다.",
  not_found: "찾을 수 없습니다.",
  not_ready: "아직 준비 중입니다. 잠시 후 다시 시도하세요.",
  precondition_failed: "그 사이에 변경되었습니다. 다시 불러오세요.",
  range_not_satisfiable: "파일의 범위를 벗어난 요청입니다.",
  settings: "설정이 올바르지 않습니다.",
  too_many: "요청이 너무 많습니다. 잠시 후 다시 시도하세요.",
  unauthorized: "로그인이 필요합니다.",
  unavailable: "지금은 사용할 수 없습니다. 잠시 후 다시 시도하세요.",
  unsupported_media_type: "지원하지 않는 형식의 요청입니다.",
  field_invalid: "{field}: {problem}",
  setting_invalid: "{field}: 올바르지 않은 값입니다.",
  limit_reached: "최대 {limit}개까지 만들 수 있습니다. 필요 없는 것을 삭제하세요.",
  data_dir_unwritable: "DATA_DIR에 쓸 수 없어 변경하지 못했습니다.",
  end_before_start: "끝 시각이 시작 시각보다 늦어야 합니다.",
  // permission
  scope_missing: "권한이 없습니다. 필요한 권한: {scope}",
  sign_in_ended: "로그인이 만료되었습니다. 다시 로그인하세요.",
  token_missing: "로그인이 필요합니다.",
  token_unknown: "알 수 없거나 폐기된 토큰입니다.",
  token_name_taken: "“{name}” 토큰이 이미 있습니다. 다른 이름을 선택하세요.",
  token_gone: "이미 없는 토큰입니다.",
  link_gone: "이미 폐기되었거나 없는 링크입니다.",
  link_ended: "만료된 링크입니다. 보낸 사람에게 새 링크를 요청하세요.",
  link_revoked: "폐기된 링크입니다. 보낸 사람에게 새 링크를 요청하세요.",
  link_unknown: "이 게이트웨이의 링크가 아닙니다.",
  expires_in_past: "만료 시각이 과거입니다. 이후 시각을 선택하세요.",
  auth_off: "인증이 꺼져 있어 누구나 모든 작업을 할 수 있습니다. 먼저 AUTH_TOKEN을 설정하세요.",
  // cameras
  wall_gone: "이미 삭제된 월입니다.",
  wall_changed: "열어 둔 동안 다른 사람이 이 월을 저장했습니다. 다시 저장하면 그 내용을 바꿉니다.",
  camera_changed: "그동안 다른 사람이 이 카메라의 설정을 변경했습니다. 다시 저장하면 그 내용을 바꿉니다.",
  camera_exists: "“{camera_id}” 카메라가 이미 있습니다. 다른 ID를 선택하세요.",
  no_sub_stream: "“{camera_id}” 카메라에는 서브 스트림이 없습니다. 카메라 설정에서 주소를 추가하세요.",
  camera_unknown: "“{camera_id}” 카메라가 없습니다.",
  camera_configured: "liveedge.toml 또는 환경 변수에 있는 카메라이므로 그곳에서 제거하세요.",
  url_scheme: "{field}: 주소는 다음 중 하나로 시작해야 합니다: {expected}",
  url_unreadable: "{field}: 주소를 읽을 수 없습니다. 예: rtsp://user:password@192.0.2.7/stream1",
  url_unresolved: "{field}: {host} 이름의 주소를 찾을 수 없습니다. 철자를 확인하거나 카메라의 IP 주소를 사용하세요.",
  url_metadata: "{field}: {host}의 주소 {address}에는 카메라가 있을 수 없습니다.",
  paused: "일시 정지된 카메라입니다. 설정에서 다시 시작하세요.",
  undecodable: "카메라가 보내는 영상을 디코딩할 수 없습니다.",
  capture: "카메라에서 영상을 받지 못했습니다.",
  camera_ended: "카메라가 연결을 끊었습니다.",
  camera_no_video: "카메라가 사용할 수 있는 영상을 보내지 않습니다.",
  camera_refused: "카메라가 요청을 거부했습니다.",
  camera_timeout: "카메라가 제시간에 응답하지 않습니다. 전원, 주소, 포트를 확인하세요.",
  camera_unauthorized: "카메라가 사용자나 비밀번호를 받아들이지 않습니다.",
  camera_unreachable: "카메라에 연결할 수 없습니다. 주소와 네트워크를 확인하세요.",
  camera_busy: "카메라가 더 이상 연결을 받지 않습니다. 동시 접속자가 너무 많은지 확인하거나 카메라를 다시 시작하세요.",
  camera_fault: "카메라 내부에 오류가 있습니다. 카메라를 다시 시작하세요.",
  camera_redirects: "카메라가 다른 주소로 보냅니다. 스트림의 실제 주소를 입력하세요.",
  certificate_refused: "카메라의 인증서를 확인할 수 없습니다. CAPTURE_TLS_CA_FILE을 확인하세요.",
  codec_unusable: "카메라의 영상 형식을 사용할 수 없습니다. H.264로 설정하세요.",
  host_unknown: "카메라 이름의 주소를 찾을 수 없습니다. 철자를 확인하거나 IP 주소를 사용하세요.",
  name_server_silent: "DNS 서버가 응답하지 않습니다. DNS를 확인하거나 카메라의 IP 주소를 사용하세요.",
  no_keyframe: "카메라가 키프레임을 보내지 않습니다. 키프레임 간격을 1~2초로 설정하고 스마트 코덱을 끄세요.",
  no_route: "카메라까지의 네트워크 경로가 없습니다. 주소와 네트워크를 확인하세요.",
  no_video_stream: "카메라가 영상을 보내지 않습니다. 영상이 있는 스트림의 주소를 사용하세요.",
  not_rtsp: "RTSP로 응답하지 않습니다. 포트(보통 554)와 경로를 확인하세요.",
  nothing_listens: "이 주소와 포트에서 응답하는 카메라가 없습니다. 포트(보통 554)와 카메라의 RTSP 설정을 확인하세요.",
  stream_forbidden: "카메라가 이 사용자의 시청을 허용하지 않습니다.",
  stream_path: "이 경로에는 스트림이 없습니다. 카메라 설명서에서 경로를 확인하세요.",
  tls_unusable: "카메라와 TLS로 연결할 수 없습니다. rtsps:// 포트인지 확인하거나 rtsp://를 사용하세요.",
  viewers_max: "시청자 수 제한({limit})에 도달했습니다.",
  // finding and moving cameras
  onvif: "카메라의 ONVIF 응답이 올바르지 않습니다.",
  onvif_unauthorized: "카메라가 이 사용자와 비밀번호를 받아들이지 않습니다. 바로 고쳐서 다시 시도하세요.",
  onvif_tries_used_up: "비밀번호가 여러 번 틀려 카메라가 잠기지 않도록 잠시 시도하지 않습니다. 비밀번호를 확인하세요.",
  onvif_unreachable: "장치가 제시간에 응답하지 않습니다.",
  onvif_unsupported: "카메라가 지원하지 않는 기능입니다.",
  onvif_not_set: "{camera_id} 카메라에 onvif_url이 설정되어 있지 않습니다.",
  no_onvif_service: "이 주소에는 ONVIF 서비스가 없습니다.",
  no_rtsp_address: "알려진 제조사의 RTSP 주소가 아닙니다. 카메라 설명서에서 주소를 확인하세요.",
  password_in_clear:
    "카메라가 암호화되지 않은 비밀번호를 요구합니다. 카메라에서 Digest 인증을 선택하거나 https 주소를 사용하세요.",
  address_invalid: "{address}: 올바른 주소가 아닙니다. 예: 192.168.1.20, 192.168.1.0/24",
  addresses_max: "한 번에 최대 {limit}개의 주소를 검색할 수 있습니다.",
  network_public: "{address}: 사설 네트워크가 아닙니다. 주소를 하나씩 입력하세요.",
  search_running: "다른 검색이 진행 중입니다. 끝난 뒤 다시 시도하세요.",
  camera_unmovable: "움직일 수 없는 카메라입니다.",
  camera_slow: "카메라가 명령을 따라오지 못합니다.",
  zoom_out_first: "먼저 카메라를 축소하세요.",
  no_relative_movement: "이 카메라는 화면의 한 지점으로 움직일 수 없습니다.",
  // talking
  no_back_channel: "말할 수 있는 스피커가 없는 카메라입니다.",
  talk_busy: "다른 사람이 말하고 있습니다.",
  talk_off: "이 카메라로 말하기가 꺼져 있습니다.",
  // recordings, events, exports
  storage: "디스크나 녹화 색인을 지금 사용할 수 없습니다.",
  no_space: "디스크 공간이 부족합니다.",
  nothing_recorded: "이 시간에는 녹화된 영상이 없습니다.",
  segment_gone: "이미 삭제된 녹화입니다.",
  event_gone: "이미 삭제된 이벤트입니다.",
  clip_format_changes:
    "카메라의 코덱이나 화면 크기가 바뀌어 한 파일로 저장할 수 없습니다({at}). 앞뒤를 따로 저장하거나 내보내기를 사용하세요. 내보내기에는 파일이 따로 들어갑니다.",
  clip_too_long: "클립은 최대 {minutes}분입니다. 나누어 저장하세요.",
  too_many_readers: "녹화를 읽는 요청이 너무 많습니다. 잠시 후 다시 시도하세요.",
  export_cameras: "카메라를 1대에서 {limit}대까지 선택하세요.",
  export_incomplete: "{nodes} 노드에 연결할 수 없어 그 노드의 녹화는 빠져 있습니다.",
  export_gone: "삭제되었거나 보관 기간이 지난 내보내기입니다.",
  export_not_done: "아직 끝나지 않은 내보내기입니다.",
  export_over_limit:
    "{needed}가 필요하지만 내보내기에 쓸 수 있는 공간은 {left}입니다(EXPORT_MAX_BYTES). 내보내기를 삭제하거나 범위를 줄이세요.",
  disk_too_full: "{needed}가 필요하지만 디스크의 여유 공간은 {free}입니다. 공간을 확보하거나 범위를 줄이세요.",
  export_too_long: "내보내기는 최대 {hours}시간입니다. 나누어 내보내세요.",
  export_too_many_files: "이 시간에 파일이 너무 많습니다. 나누어 내보내세요.",
  exports_kept: "내보내기가 최대 개수({limit})입니다. 하나를 삭제하세요.",
  exports_unfinished: "끝나지 않은 내보내기가 최대 개수({limit})입니다. 기다리거나 하나를 삭제하세요.",
  burn_in_failed: "화면에 시각을 표시하지 못했습니다. 시각 표시 없이 내보내세요.",
  // notifications
  subscription_gone: "이미 삭제된 알림 설정입니다.",
  subscription_busy: "지금은 이 브라우저에 알림을 보낼 수 없습니다. 잠시 후 다시 시도하세요.",
  // a cluster
  node_away: "클러스터 노드 {node}에 연결할 수 없습니다.",
  no_cluster: "이 게이트웨이는 클러스터의 노드가 아닙니다.",
  webhook_unknown: "없는 웹훅입니다.",
  not_owner: "이 카메라는 클러스터의 다른 노드가 맡고 있습니다.",
};

const PROBLEMS_KO: Record<FieldProblem, string> = {
  missing: "값이 필요합니다.",
  extra_forbidden: "없는 설정입니다.",
  dict_type: "객체여야 합니다.",
  model_type: "객체여야 합니다.",
  model_attributes_type: "객체여야 합니다.",
  list_type: "목록이어야 합니다.",
  tuple_type: "목록이어야 합니다.",
  string_type: "텍스트여야 합니다.",
  string_unicode: "올바른 텍스트가 아닙니다.",
  bytes_type: "바이트여야 합니다.",
  bool_type: "참 또는 거짓이어야 합니다.",
  bool_parsing: "참 또는 거짓이어야 합니다.",
  int_type: "정수여야 합니다.",
  int_parsing: "정수여야 합니다.",
  int_from_float: "정수여야 합니다.",
  float_type: "숫자여야 합니다.",
  float_parsing: "숫자여야 합니다.",
  finite_number: "유한한 숫자여야 합니다.",
  greater_than: "{gt}보다 커야 합니다.",
  greater_than_equal: "{ge} 이상이어야 합니다.",
  less_than: "{lt}보다 작아야 합니다.",
  less_than_equal: "{le} 이하여야 합니다.",
  string_too_short: "{min_length}자 이상이어야 합니다.",
  string_too_long: "{max_length}자 이하여야 합니다.",
  too_short: "{min_length}개 이상이어야 합니다.",
  too_long: "{max_length}개 이하여야 합니다.",
  string_pattern_mismatch: "사용할 수 없는 문자가 있습니다.",
  literal_error: "다음 중 하나여야 합니다: {expected}",
  enum: "다음 중 하나여야 합니다: {expected}",
  json_invalid: "올바른 JSON이 아닙니다.",
  none_required: "비어 있어야 합니다.",
  path_type: "파일 경로를 글자로 입력해야 합니다.",
  ip_any_network: "192.0.2.0/24와 같은 IP 주소 또는 네트워크여야 합니다.",
  value_error: "올바르지 않은 값입니다.",
};

/** What the forms of the page call a field. Any other has the name that it has in the API. */
const FIELDS_EN: Record<string, string> = {
  camera_id: "Id",
  name: "Name",
  url: "Address of the main stream",
  sub_url: "Address of the sub stream",
  onvif_url: "ONVIF address",
  talk_url: "Address for talking",
  address: "Address",
  addresses: "Addresses",
  user: "User",
  password: "Password",
  record: "Recording",
  record_sub: "Recording of the sub stream",
  cameras: "Cameras",
  start: "From",
  end: "To",
  expires: "Expires",
  expires_s: "Valid for",
  labels: "Labels",
  columns: "Columns",
  tour_seconds: "Seconds in the tour",
};

const FIELDS_KO: Record<string, string> = {
  camera_id: "카메라 ID",
  name: "이름",
  url: "메인 스트림 주소",
  sub_url: "서브 스트림 주소",
  onvif_url: "ONVIF 주소",
  talk_url: "말하기 주소",
  address: "주소",
  addresses: "주소",
  user: "사용자",
  password: "비밀번호",
  record: "녹화",
  record_sub: "서브 스트림 녹화",
  cameras: "카메라",
  start: "시작",
  end: "끝",
  expires: "만료",
  expires_s: "유효 시간",
  labels: "라벨",
  columns: "열 수",
  tour_seconds: "순환 보기 시간",
};

/** Lists of times, as RFC 3339. */
const TIMES: ReadonlySet<string> = new Set(["at"]);

const SIZES: ReadonlySet<string> = new Set(["needed", "left", "free"]);

/** An error in a language; null for what has no text, where the gateway's own sentence is to be shown. */
export function errorText(language: Language, about: ErrorAbout): string | null {
  const { error, reason, values } = about;
  if (language === "en") return englishText(about);
  const texts: Record<string, string> = ko;
  const words = wordsOf(language, values ?? {});
  for (const key of [reason ?? "", error]) {
    const text = interpolate(texts[key] ?? "", words);
    // A sentence needs all that it names: without a value, the next one is taken.
    if (text && !text.includes("{")) return text;
  }
  return null;
}

function englishText({ error, reason, values, message }: ErrorAbout): string | null {
  const texts: Record<string, string> = en;
  // The sentence for a reason that has no text says more than that of its code.
  const text = interpolate(texts[reason ?? error] ?? "", wordsWithTimes("en", values ?? {}));
  if (text && !text.includes("{")) return text;
  const field = values?.field;
  const label = typeof field === "string" ? FIELDS_EN[field] : undefined;
  return label && message?.startsWith(`${field}: `) ? label + message.slice(`${field}`.length) : null;
}

/** Why a camera has no video: from its `error_code`, or the gateway's sentence. */
export function cameraReason(
  language: Language,
  { error_code, error_message }: { error_code?: string | null; error_message?: string | null },
): string {
  return (error_code && errorText(language, { error: error_code, reason: error_code })) || (error_message ?? "");
}

function wordsWithTimes(language: Language, values: Values): Values {
  const words: Values = { ...values };
  for (const [name, value] of Object.entries(values)) {
    if (!TIMES.has(name) || typeof value !== "string") continue;
    const times = value.split(", ").map((each) => new Date(each));
    const format = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
    if (!times.some((each) => Number.isNaN(each.getTime())))
      words[name] = times.map((each) => format.format(each)).join(", ");
  }
  return words;
}

function wordsOf(language: Language, values: Values): Values {
  const words = wordsWithTimes(language, values);
  for (const [name, value] of Object.entries(values)) {
    if (SIZES.has(name) && typeof value === "number") words[name] = `${(value / 1e9).toFixed(2)} GB`;
  }
  const { field, problem } = values;
  if (typeof field === "string") words.field = field.replace(/^\w+/, (name) => FIELDS_KO[name] ?? name);
  if (problem !== undefined) {
    const texts: Record<string, string> = PROBLEMS_KO;
    const named = { ...values };
    // A list of pydantic: 'main', 'sub' or 'auto'.
    if (typeof named.expected === "string") named.expected = named.expected.replace(/ or (?=\S+$)/, ", ");
    words.problem = interpolate(texts[problem] ?? PROBLEMS_KO.value_error, named);
  }
  return words;
}
