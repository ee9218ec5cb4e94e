"""Talk-back: a person's microphone, over WebRTC, to the loudspeaker of a camera, over its ONVIF back channel.

formats, sound   what the camera takes, and what is made of what the talker sends; sans-IO
voice_queue      the order, pace and bound of what waits for the camera; sans-IO
floor            who may talk, and for how long; sans-IO
back_channel     the RTSP session that carries the voice to the camera
turn             one talker's turn, from the first word to the last
camera_talk      the talkers of one camera, and what it is known to take
talker           a session that only talks (``POST /talk/{camera}``)
viewer_voice     a viewer that talks (WHEP, with ``sendrecv`` audio)
service          all of them
"""
