"""What a request passes before its handler. :mod:`web.app` composes them, in this order:

http metrics → errors → proxy_headers → request_limits → host_check → cors → authentication → handler
"""
