"""Transcoding on demand: one shared H.264 stream of a camera whose own stream a browser does not decode."""
