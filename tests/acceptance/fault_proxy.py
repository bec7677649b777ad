"""A proxy between the product and a real server, which lets the line between them fail as a test asks.

It knows bytes, not protocols: S3, PostgreSQL and SFTP all pass through it. A fault waits for words the
client says, or for so many bytes of them, and befalls the connection on which they are said.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_CHUNK = 1 << 16


@dataclass
class Fault:
    """What goes wrong, when, and how often.

    Attributes:
        words: The bytes of the client that bring it on.
        after_bytes: Or how many bytes it must have sent on one connection.
        times: How often it happens; then the line is well.
        answer: What the client hears in the server's place.
        is_heard: Whether the server gets to hear those words.
        passes: How many bytes of the server's answer to those words still reach the client.
        is_silent: Whether the connection stays open, with no answer, instead of being cut.
        meanwhile: What somebody else does just before the server hears the words; nothing is cut then.
    """

    words: bytes = b""
    after_bytes: int | None = None
    times: int = 1
    answer: bytes = b""
    is_heard: bool = False
    passes: int = 0
    is_silent: bool = False
    meanwhile: Callable[[], object] | None = None
    happened: int = 0


@dataclass
class FaultProxy:
    """A line to a server; `faults` may be changed at any time, and `is_down` refuses every connection."""

    host: str
    upstream: int
    listener: socket.socket
    faults: list[Fault] = field(default_factory=list)
    is_down: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.listener.getsockname()[1])

    def accept(self) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self.is_down:
                return
            with socket.create_connection((self.host, self.upstream)) as server:
                line = _Line(client, server)
                threading.Thread(target=line.pass_back, daemon=True).start()
                self._pass_on(line)

    def _pass_on(self, line: "_Line") -> None:
        """Hand the client's words to the server until a fault befalls the connection or it ends."""
        said, tail = 0, b""
        while data := line.client.recv(_CHUNK):
            said += len(data)
            fault = self._fault_in(tail, data, said)
            tail = (tail + data)[-200:]
            if fault is not None and fault.meanwhile is not None:
                fault.meanwhile()
            elif fault is not None:
                if not self._befall(fault, line, data):
                    return
                continue
            line.server.sendall(data)

    def _befall(self, fault: Fault, line: "_Line", data: bytes) -> bool:
        """Let it happen; tell whether the connection goes on for a while."""
        if fault.is_heard:
            # The rest of these words passes too; the answer is what gets lost.
            line.allowance = fault.passes
            line.server.sendall(data)
            return True
        if fault.is_silent:
            self.stopped.wait()
        if fault.answer:
            line.client.sendall(fault.answer)
            line.client.shutdown(socket.SHUT_WR)
            # Closing on unread words would take the answer back.
            line.client.settimeout(5)
            while line.client.recv(_CHUNK):
                pass
        line.cut()
        return False

    def _fault_in(self, tail: bytes, data: bytes, said: int) -> Fault | None:
        """Find the fault that these words bring on, and count it; words may come in two parts."""
        with self.lock:
            for fault in self.faults:
                before = tail[len(tail) - len(fault.words) + 1 :] if len(fault.words) > 1 else b""
                heard = fault.words in before + data
                is_due = said > fault.after_bytes if fault.after_bytes is not None else heard
                if is_due and fault.happened < fault.times:
                    fault.happened += 1
                    return fault
        return None


@dataclass
class _Line:
    """One connection: the client's end, the server's end, and how much may still come back."""

    client: socket.socket
    server: socket.socket
    allowance: int | None = None

    def pass_back(self) -> None:
        """Hand the server's words to the client, as far as they are allowed to."""
        with contextlib.suppress(OSError):
            while data := self.server.recv(_CHUNK):
                if self.allowance is not None:
                    self.client.sendall(data[: self.allowance])
                    self.allowance -= len(data)
                    if self.allowance <= 0:
                        break
                else:
                    self.client.sendall(data)
        self.cut()

    def cut(self) -> None:
        """End both halves."""
        for half in (self.client, self.server):
            with contextlib.suppress(OSError):
                half.shutdown(socket.SHUT_RDWR)


@contextmanager
def fault_proxy(port: int, host: str = "127.0.0.1") -> Iterator[FaultProxy]:
    """Stand in front of a server for a while."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = FaultProxy(host, port, listener)
        thread = threading.Thread(target=proxy.accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)


def http_error(status: int, code: str) -> bytes:
    """Word an S3 server's refusal."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
