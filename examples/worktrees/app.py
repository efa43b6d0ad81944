"""Says which network it serves, and where it is reached from outside."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = f"{os.environ['MINATO_HOST']} of {os.environ['MINATO_NETWORK']}, at {os.environ['MINATO_URL_80']}\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(PAGE.encode())


print("reached at", os.environ["MINATO_URL_80"])
ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
