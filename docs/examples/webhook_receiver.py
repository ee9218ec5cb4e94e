"""Prints the messages of a webhook: python webhook_receiver.py PORT whsec_…"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError  # pip install standardwebhooks

seen = set()  # a real receiver keeps them for a few days


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            message = Webhook(sys.argv[2]).verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.send_error(401)
            return
        if self.headers["webhook-id"] not in seen:  # a repeated message is taken, and not processed again
            seen.add(self.headers["webhook-id"])
            print(message["timestamp"], message["type"], message["data"], flush=True)  # noqa: T201
        self.send_response(204)
        self.end_headers()


HTTPServer(("", int(sys.argv[1])), Receiver).serve_forever()
