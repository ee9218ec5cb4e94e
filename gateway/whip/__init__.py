"""WHIP: cameras that a browser, a phone or an encoder pushes over WebRTC (RFC 9725), without HTTP.

negotiation, answer    the offer of a publisher, and what is answered
reception, transport_feedback, rate_estimate, keyframe_timer    what a receiver of RTP says to its sender; sans-IO
publisher    one session
server       all of them
"""
