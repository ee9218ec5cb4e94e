"""ONVIF without I/O: SOAP messages, what cameras answer, and how streams are chosen (onvif.org, Core 23.06).

:mod:`web.onvif` sends them. There is no SOAP library: zeep reads the WSDLs at the start, which took 0.6 s of the event
loop's time and 41 MB before the first call. The twenty calls of this package need neither.
"""
