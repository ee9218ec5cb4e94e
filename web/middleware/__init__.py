"""What a request passes before its handler. :mod:`web.app` composes them, in this order:

http metrics → errors → proxy_headers → host_check → cors → authentication → request_limits → handler
"""
