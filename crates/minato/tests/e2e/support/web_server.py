import base64, hashlib, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, name = int(sys.argv[1]), sys.argv[2]
PAGE = '''<!doctype html><title>page</title><p id="ws">waiting</p><p id="cookies"></p><p id="how"></p><img src="/later" alt=""><script>
const socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/ws");
socket.onopen = () => socket.send("hello");
socket.onmessage = (event) => { document.getElementById("ws").textContent = "WebSocket says: NAME " + event.data; };
document.getElementById("cookies").textContent = "cookies: " + document.cookie;
document.getElementById("how").textContent =
    "protocol: " + performance.getEntriesByType("navigation")[0].nextHopProtocol + ", secure: " + isSecureContext;
</script>'''.replace("NAME", name)

# The page is loaded when its WebSocket has been served.
echoed = threading.Event()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, text, kind="text/plain"):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Set-Cookie", "who=" + name)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.headers.get("Upgrade", "") == "websocket":
            return self.websocket()
        if self.path == "/page":
            return self.answer(PAGE, "text/html")
        if self.path == "/later":
            echoed.wait(15)
            time.sleep(0.3)
        headers = "".join(f"{key.lower()}: {value}\n" for key, value in self.headers.items())
        self.answer(f"{name} GET {self.path}\n{headers}")

    def do_PUT(self):
        count = 0
        if self.headers.get("Transfer-Encoding") == "chunked":
            while length := int(self.rfile.readline(), 16):
                count += len(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
        else:
            count = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(f"{name} PUT {self.path}\n{count} bytes\n")

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] != 0x81:
                return
            mask = self.rfile.read(4)
            text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(head[1] & 0x7f)))
            self.wfile.write(bytes([0x81, len(text)]) + text)
            self.wfile.flush()
            echoed.set()

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("", port), Handler).serve_forever()
