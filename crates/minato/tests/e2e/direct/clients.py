# Clients of many kinds in a host whose connections are direct: each must work as ever, and hold a socket of the machine
# where that is possible. Fails at the first that does not.
import asyncio, ctypes, errno, os, select, signal, socket, struct, sys, threading

outside = {socket.AF_INET: sys.argv[1], socket.AF_INET6: sys.argv[2]}
machine = {socket.AF_INET: sys.argv[3], socket.AF_INET6: sys.argv[4]}
libc = ctypes.CDLL(None, use_errno=True)


def is_direct(s):
    return s.getsockname()[0] == machine[s.family]


def hello(s):
    s.sendall(b'GET / HTTP/1.0\r\n\r\n')
    text = b''
    while piece := s.recv(4096):
        text += piece
    assert text.endswith(b'hello'), text


def connected(family=socket.AF_INET, port=8000, timeout=None):
    s = socket.socket(family)
    s.settimeout(timeout)
    s.connect((outside[family], port))
    return s


def refused(family=socket.AF_INET):
    s = socket.socket(family)
    try:
        s.connect((outside[family], 9))
    except ConnectionRefusedError:
        return s
    raise AssertionError('port 9 answers')


def plain_clients():
    for family in outside:
        for timeout in None, 5:
            s = connected(family, timeout=timeout)
            assert is_direct(s) and s.getpeername()[0] == outside[family], s
            assert s.gettimeout() == timeout and not os.get_inheritable(s.fileno())
            hello(s)
    # An IPv4 address in a socket of IPv6.
    s = socket.socket(socket.AF_INET6)
    s.connect(('::ffff:' + outside[socket.AF_INET], 8000))
    assert s.getsockname()[0] == '::ffff:' + machine[socket.AF_INET], s
    hello(s)


def options():
    s = socket.socket()
    os.set_inheritable(s.fileno(), True)
    wanted = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
              (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 9000)]
    for option in wanted: s.setsockopt(*option)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20000)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 3, 0))
    s.connect((outside[s.family], 8000))
    assert is_direct(s) and os.get_inheritable(s.fileno())
    for level, name, value in wanted: assert s.getsockopt(level, name) == value, (level, name)
    assert s.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 40000
    assert struct.unpack('ll', s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)) == (3, 0)
    hello(s)
    # Options that are looked at only once a program has set one of them: of each level, each as the first one.
    seldom = [(socket.AF_INET, socket.SOL_SOCKET, socket.SO_OOBINLINE, 1), (socket.AF_INET, socket.IPPROTO_IP, socket.IP_TOS, 8),
              (socket.AF_INET, socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 7000),
              (socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 8)]
    family, level, name, value = seldom[int(sys.argv[5])]
    connected(family)
    s = socket.socket(family)
    s.setsockopt(level, name, value)
    s.connect((outside[family], 8000))
    assert is_direct(s) and s.getsockopt(level, name) == value, (level, name)
    hello(s)


def failures():
    for family in outside:
        s = socket.socket(family)
        s.setblocking(False)
        assert s.connect_ex((outside[family], 9)) in (errno.EINPROGRESS, errno.ECONNREFUSED)
        select.select([], [s], [], 10)
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (errno.ECONNREFUSED, 0)
        # The same socket once more: elsewhere outside, and within.
        s = refused(family)
        s.connect((outside[family], 8001))
        assert is_direct(s)
        hello(s)
        loopback = '127.0.0.1' if family == socket.AF_INET else '::1'
        service = socket.create_server((loopback, 0), family=family)
        s = refused(family)
        s.connect(service.getsockname())
        assert s.getsockname()[0] == loopback
        service.accept()[0].close()
        # It serves: in the host, and not on the machine.
        s = refused(family)
        s.bind((loopback, 0))
        s.listen()
        assert s.getsockname()[1] >= 49152, s
        socket.create_connection(s.getsockname()[:2]).close()
        s = refused(family)
        s.listen()
        assert s.getsockname()[1] >= 49152, s
        socket.create_connection((loopback, s.getsockname()[1])).close()
    # Disconnected (AF_UNSPEC).
    s = connected()
    assert libc.connect(s.fileno(), struct.pack('HHIQ', socket.AF_UNSPEC, 0, 0, 0), 16) == 0
    s.bind(('127.0.0.1', 0))
    assert s.getsockname()[1] >= 49152
    # A signal.
    def alarm(*_): raise TimeoutError
    signal.signal(signal.SIGALRM, alarm)
    for timeout in None, 5:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try: socket.create_connection(('192.0.2.77', 80), timeout)
        except TimeoutError: pass
        else: raise AssertionError('192.0.2.77 answers')
        signal.setitimer(signal.ITIMER_REAL, 0)


def events():
    # Watched before it is connected, as nginx does: it stays a socket of the host.
    for _ in range(2):
        s, epoll = socket.socket(), select.epoll()
        s.setblocking(False)
        epoll.register(s, select.EPOLLOUT)
        s.connect_ex((outside[s.family], 8000))
        assert epoll.poll(10) == [(s.fileno(), select.EPOLLOUT)]
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and not is_direct(s)
        s.setblocking(True)
        hello(s)
        assert is_direct(connected())

    async def one():
        reader, writer = await asyncio.open_connection(outside[socket.AF_INET], 8000)
        assert is_direct(writer.get_extra_info('socket')), writer
        writer.write(b'GET / HTTP/1.0\r\n\r\n')
        assert (await reader.read()).endswith(b'hello')
        writer.close()
    async def many():
        await asyncio.gather(*(one() for _ in range(20)))
    asyncio.run(many())


def others():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((outside[s.family], 7777))
    s.send(b'marco')
    assert s.recv(100) == b'marco' and not is_direct(s)
    service = socket.socket(socket.AF_UNIX)
    service.bind('\0of-this-host')
    service.listen()
    socket.socket(socket.AF_UNIX).connect('\0of-this-host')
    threads = [threading.Thread(target=lambda: [hello(connected()) for _ in range(20)]) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    if not (child := os.fork()):
        s = connected()
        hello(s)
        os._exit(0 if is_direct(s) else 1)
    assert os.waitpid(child, 0)[1] == 0


for part in plain_clients, options, failures, events, others:
    part()
    print(part.__name__, flush=True)
