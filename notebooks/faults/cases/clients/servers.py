"""Small real servers, each in a thread of this process: HTTP, Redis's protocol, and an echo.

The cases use them, and lesson 10. HTTP's path /number and the line "number" are answered with the
number of the client's connection, from 1.
"""

import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class InThread:
    """A server of the standard library at work in a thread, which numbers its connections."""

    def __init__(self, server):
        self.server, self.connections = server, 0
        self.port = server.server_address[1]
        server.numbers = {}  # by the client's address
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # a client that has gone
        self._process = server.process_request
        server.process_request = self._count
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()

    def _count(self, request, address):
        self.connections += 1  # in the server's one thread
        self.server.numbers[address] = self.connections
        self._process(request, address)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_GET(self):
        number = self.server.numbers[self.client_address]
        body = str(number if self.path == "/number" else 42).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        number = self.server.numbers[self.client_address]
        for line in self.rfile:
            self.wfile.write(f"{number}\n".encode() if line == b"number\n" else line)


def http_server():
    return InThread(ThreadingHTTPServer(("127.0.0.1", 0), Answer))


def echo_server():
    return InThread(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo))


def redis_server():
    from fakeredis import TcpFakeServer

    return InThread(TcpFakeServer(("127.0.0.1", 0), server_type="redis"))
