"""Frames into RTP payloads, one module a payload format: the other direction of :mod:`gateway.rtsp.depacketize`."""
