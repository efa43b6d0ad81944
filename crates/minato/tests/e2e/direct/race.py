# Connects again and again, while a thread exchanges the address between what is allowed and what is not.
import ctypes, os, socket, struct, sys, threading
allowed, denied = sys.argv[1:3]
libc = ctypes.CDLL(None, use_errno=True)


def spelled(address):
    return struct.pack('H', socket.AF_INET) + struct.pack('!H', 8002) + socket.inet_aton(address) + bytes(8)


shared, one, other = ctypes.create_string_buffer(16), spelled(allowed), spelled(denied)
shared.raw = one
over = False


def exchange():
    while not over:
        ctypes.memmove(shared, other, 16)
        ctypes.memmove(shared, one, 16)


thread = threading.Thread(target=exchange)
thread.start()
reached = {allowed: 0, denied: 0}
for _ in range(150):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack('ll', 0, 50000))
    if libc.connect(s.fileno(), shared, 16) == 0:
        # And once more over the same socket.
        reached[s.getpeername()[0]] += 1
        libc.connect(s.fileno(), struct.pack('HHIQ', socket.AF_UNSPEC, 0, 0, 0), 16)
        if libc.connect(s.fileno(), shared, 16) == 0:
            reached[s.getpeername()[0]] += 1
over = True
thread.join()
print(reached[allowed] > 0, reached[denied])
