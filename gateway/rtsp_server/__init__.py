"""The RTSP server: cameras for players and recorders that speak RTSP (RFC 2326).

server      the port, its connections and their limits
connection  one client: its requests and their answers
stream      one rendition's frames as RTP, made once for all readers
reader      what one client is sent
udp         the ports that RTP and RTCP over UDP share
access      who a client is, which another package knows
"""
