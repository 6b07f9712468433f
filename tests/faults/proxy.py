"""A wire between two services that can be cut: `python -m tests.faults.proxy PORT TARGET`; TARGET is host:port or a socket's path.

SIGSTOP cuts it: what is sent vanishes, and nobody is told. SIGCONT mends it, with what waited in the buffers.
"""

import asyncio
import contextlib
import sys

_CHUNK_BYTES = 65_536


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> None:
    """Relays a connection to TARGET until both sides have ended; where nobody is there, it ends at once."""
    try:
        if target.startswith("/"):
            there = await asyncio.open_unix_connection(target)
        else:
            host, _, number = target.rpartition(":")
            there = await asyncio.open_connection(host, int(number))
    except OSError:
        writer.transport.abort()
        return
    await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))


async def _serve(port: int, target: str) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay(reader, writer, target)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2]))
