"""RTSP (RFC 2326) and RTP (RFC 3550) without I/O: bytes and times go in, messages and frames come out.

Nothing here opens a socket, starts a thread or reads a clock. :mod:`gateway.capture.engines.rtsp` is the asyncio client
on top of it.

    messages     requests, responses and interleaved frames in one byte stream
    auth         Basic and Digest credentials (RFC 7617, RFC 7616)
    sdp          session descriptions (RFC 8866) as cameras write them
    client       the order of OPTIONS, DESCRIBE, SETUP, PLAY, keep-alive and TEARDOWN
    rtp, rtcp    packet headers, sequence numbers, reordering, sender and receiver reports
    depacketize  RTP payloads into frames, one module a payload format
    packetize    frames into RTP payloads
"""
