"""What a request passes before its handler. :mod:`web.app` composes them, in this order:

http metrics → errors → checks (proxy_headers, host_check, cors) → authentication → request_limits (content_coding) →
handler
"""
