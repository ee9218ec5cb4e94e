"""The parts of WebRTC (SDP, ICE, RTP, bandwidth) know neither each other nor the server that puts them together."""

import pytest

from tests.test_structure import import_graph

SHARED = {"transport", "compat"}
"""Modules directly in gateway/webrtc that its folders may import."""


@pytest.mark.parametrize("folder", ["sdp", "ice", "rtp", "bandwidth"])
def test_a_folder_imports_of_webrtc_only_itself_and_shared_modules(folder: str) -> None:
    prefix = "gateway.webrtc."
    modules = [name for name in import_graph() if name.startswith(f"{prefix}{folder}.")]
    assert modules
    for module in modules:
        parts = {name.removeprefix(prefix).partition(".")[0] for name in import_graph()[module] if prefix in name}
        assert parts <= {folder, *SHARED}, module
