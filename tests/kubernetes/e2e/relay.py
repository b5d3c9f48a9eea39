"""A server reached through a line that a test can cut and mend."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

_CHUNK_BYTES = 65_536


class Relay:
    """Passes connections on to a server; while it is cut, none is accepted and none goes on."""

    def __init__(self, host: str, target_port: int) -> None:
        """Listen on a free port of a host, for a server on another port of it."""
        self._host = host
        self._target_port = target_port
        self._sockets: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.bytes_asked = 0
        """What clients have sent so far: nothing more is sent when nobody asks for anything."""
        self.mend()

    def mend(self) -> None:
        """Accept connections, on the same port as before."""
        if self._listener is not None:
            return
        listener = socket.create_server((self._host, self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """End every connection and refuse new ones."""
        with self._guard:
            listener, self._listener = self._listener, None
            ended, self._sockets = self._sockets, set()
        for each in (listener, *ended):
            if each is not None:
                _end(each)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # cut
                return
            try:
                server = socket.create_connection((self._host, self._target_port), timeout=5)
            except OSError:
                _end(client)
                continue
            server.settimeout(None)
            with self._guard:
                wanted = self._listener is listener
                if wanted:
                    self._sockets |= {client, server}
            if not wanted:
                _end(client)
                _end(server)
                return
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink, sink is server), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                if asks:
                    with self._guard:
                        self.bytes_asked += len(data)
                sink.sendall(data)
        for each in (source, sink):
            _end(each)
            with self._guard:
                self._sockets.discard(each)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
