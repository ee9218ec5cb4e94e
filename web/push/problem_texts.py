"""Problems in Korean, by their codes (:mod:`web.observability.health`). The messages of problems are English."""

from collections.abc import Mapping

KOREAN: Mapping[str, str] = {
    "settings_refused": "변경한 설정을 적용할 수 없습니다.",
    "camera_left_out": "설정 오류로 이 카메라를 사용할 수 없습니다.",
    "sub_stream_down": "카메라의 서브 스트림이 끊겼습니다.",
    "transcode_limit": "변환할 수 있는 카메라 수를 넘어 이 카메라를 변환하지 않습니다.",
    "forward_failed": "카메라 영상을 다른 서버로 보내지 못하고 있습니다.",
    "detector_failed": "감지기가 작동하지 않습니다.",
    "cluster_database_away": "클러스터 데이터베이스에 연결할 수 없습니다.",
    "cluster_fault": "클러스터 처리 중 오류가 발생했습니다.",
    "cluster_node_away": "클러스터 노드에 연결할 수 없습니다. 다른 노드가 카메라를 맡았습니다.",
    "cluster_name_taken": "같은 이름의 클러스터 노드가 두 개 실행 중이라 그중 하나가 카메라를 넘기고 있습니다.",
    "event_service_away": "이벤트 서비스에 연결되어 있지 않습니다.",
    "frames_too_large": "영상이 너무 커서 이벤트 서비스로 보내지 못합니다.",
    "not_recorded": "카메라가 녹화되지 않고 있습니다.",
    "sub_not_recorded": "카메라의 서브 스트림이 녹화되지 않고 있습니다.",
    "recording_late": "디스크가 느려 녹화가 지연되고 있습니다.",
    "sub_recording_late": "디스크가 느려 서브 스트림 녹화가 지연되고 있습니다.",
    "index_failed": "녹화 색인을 쓸 수 없습니다. 녹화는 계속됩니다.",
    "index_incomplete": "녹화 색인을 다시 만들고 있습니다. 아직 일부 녹화를 찾을 수 없습니다.",
    "clock_untrusted": "시스템 시계가 맞지 않는 것 같습니다.",
    "storage_failed": "녹화를 외부 저장소에 올리지 못하고 있습니다.",
    "not_signed": "끝난 녹화에 서명하지 못하고 있습니다.",
    "broker_away": "MQTT 브로커에 연결되어 있지 않습니다.",
    "push_unusable": "알림을 보낼 수 없습니다.",
    "push_failing": "푸시 서비스가 알림을 받지 않습니다.",
    "camera_clock_off": "카메라의 시계가 맞지 않습니다.",
    "onvif_away": "카메라의 ONVIF가 작동하지 않습니다.",
    "webhook_failing": "웹훅 메시지가 전달되지 않고 있습니다.",
    "webhook_outbox_failed": "웹훅 보관함을 쓸 수 없습니다.",
    "walls_unreadable": "저장한 비디오 월을 읽을 수 없습니다.",
    "retention_failed": "오래된 녹화를 삭제할 수 없습니다.",
}
"""The notification has the camera in its title. Without a text here, it has the message."""
