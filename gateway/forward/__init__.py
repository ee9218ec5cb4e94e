"""Forward: a camera's packets pushed to other servers (RTMP, RTSP, WHIP), without encoding its video again.

target     where to, and what is refused
libav_connection, libav_worker, muxer     RTMP and RTSP: packets into a container of libav, which blocks
whip_connection, whip_worker, whip_sender     WHIP: packets to a peer of aiortc
process    the process of one connection, libav's or aiortc's
forward    one target, supervised
service    all of them
"""
