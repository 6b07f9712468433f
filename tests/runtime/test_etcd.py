"""The etcd client against real etcd servers that die, freeze, forget and refuse."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.runtime.config import ConfigError
from services.runtime.etcd import EtcdClient, EtcdConfig, EtcdError, Snapshot
from tests.etcd_cluster import EtcdCluster
from tests.waiting import WAIT_S, until

# Much more than it takes: other tests may keep the machine busy.


@pytest.fixture(scope="module")
def cluster() -> Iterator[EtcdCluster]:
    with EtcdCluster() as servers:
        yield servers


@asynccontextmanager
async def following(client: EtcdClient, prefix: str) -> AsyncIterator[list[Snapshot]]:
    """What `follow` says, as it comes."""
    seen: list[Snapshot] = []

    async def follow() -> None:
        async for snapshot in client.follow(prefix):
            seen.append(snapshot)

    task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def put_somewhere(client: EtcdClient, key: str, value: bytes = b"") -> None:
    """As a caller does who knows that a repeat is harmless."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await client.put(key, value)
                return
            except EtcdError:
                await asyncio.sleep(0.05)


async def test_keys_and_conditions(cluster: EtcdCluster) -> None:
    async with EtcdClient(cluster.config) as client:
        assert await client.get("/keys/a") is None
        first = await client.put_if("/keys/a", b"1")
        assert first is not None
        assert await client.put_if("/keys/a", b"2") is None
        second = await client.put_if("/keys/a", b"2", mod_revision=first)
        found = await client.get("/keys/a")
        assert found == (b"2", first, second, 0)
        assert await client.delete_if("/keys/a", mod_revision=first) is None
        await client.put("/keys/b/c", "钱".encode())
        await client.put("/keyt", b"behind the prefix")
        snapshot = await client.get_prefix("/keys/")
        assert {name: each.value for name, each in snapshot.keys.items()} == {"a": b"2", "b/c": "钱".encode()}
        assert second is not None
        assert await client.delete_if("/keys/a", mod_revision=second) is not None
        await client.delete("/keys/b/c")
        assert (await client.get_prefix("/keys/")).keys == {}


async def test_of_many_who_want_a_key_one_gets_it(cluster: EtcdCluster) -> None:
    async with EtcdClient(cluster.config) as client:
        revisions = await asyncio.gather(*(client.put_if("/race", b"%d" % number) for number in range(50)))
        (winner,) = [number for number, revision in enumerate(revisions) if revision is not None]
        found = await client.get("/race")
        assert found is not None
        assert found.value == b"%d" % winner


async def test_a_lease_ends_with_its_keys_unless_it_is_kept_alive(cluster: EtcdCluster) -> None:
    async with EtcdClient(cluster.config) as client:
        kept, left = await client.grant(2), await client.grant(2)
        await client.put("/leases/kept", b"", kept)
        await client.put("/leases/left", b"", left)
        async with following(client, "/leases/") as seen:
            await until(lambda: seen)
            for _ in range(8):
                await asyncio.sleep(0.5)
                assert await client.keep_alive(kept)
            assert sorted(seen[0].keys) == ["kept", "left"]
            assert sorted(seen[-1].keys) == ["kept"]
            assert not await client.keep_alive(left)
            await client.revoke(kept)
            await until(lambda: not seen[-1].keys)


@pytest.mark.parametrize("how", ["kill", "freeze"])
@pytest.mark.parametrize("who", ["leader", "connected"])
async def test_a_member_that_goes_away_is_left(cluster: EtcdCluster, how: str, who: str) -> None:
    prefix = f"/away/{how}/{who}/"
    async with EtcdClient(cluster.config) as client:
        lease = await client.grant(30)
        await client.put(f"{prefix}leased", b"", lease)
        member = cluster.leader() if who == "leader" else 0
        async with following(client, prefix) as seen:
            await until(lambda: seen)
            try:
                (cluster.kill if how == "kill" else cluster.freeze)(member)
                began_s = time.monotonic()
                for number in range(5):
                    await put_somewhere(client, f"{prefix}{number}")
                alive = False
                while not alive:
                    try:
                        alive = await client.keep_alive(lease)
                    except EtcdError:
                        assert time.monotonic() < began_s + WAIT_S
                await until(lambda: len(seen[-1].keys) == 6)
                revisions = [snapshot.revision for snapshot in seen]
                assert revisions == sorted(revisions)
            finally:
                if how == "kill":
                    cluster.start(member)
                else:
                    cluster.thaw(member)


async def test_a_watch_goes_on_behind_what_it_saw_after_the_whole_cluster_was_down(cluster: EtcdCluster) -> None:
    async with EtcdClient(cluster.config) as client:
        await client.put("/down/before", b"")
        async with following(client, "/down/") as seen:
            await until(lambda: seen)
            cluster.kill(0, 1, 2)
            with pytest.raises(EtcdError, match="can't be reached or has no leader; check endpoints"):
                await client.put("/down/lost", b"")
            await asyncio.to_thread(cluster.start, 0, 1, 2)
            await put_somewhere(client, "/down/after")
            await until(lambda: sorted(seen[-1].keys) == ["after", "before"])


async def test_what_was_compacted_is_listed_anew(cluster: EtcdCluster) -> None:
    async with EtcdClient(cluster.config) as writer, EtcdClient(cluster.config) as client:
        await writer.put("/compacted/0", b"")
        # Its watch begins long ago.
        old = Snapshot(1, {})
        for number in range(1, 5):
            revision = await writer.put(f"/compacted/{number}", b"")
        await writer.delete("/compacted/0")
        await writer.compact(revision)
        assert [each async for each in client._watch("/compacted/", old)] == []
        async with following(client, "/compacted/") as seen:
            await until(lambda: seen)
            assert sorted(seen[-1].keys) == ["1", "2", "3", "4"]


async def test_nobody_there_is_said_soon(cluster: EtcdCluster) -> None:
    async with EtcdClient(EtcdConfig(endpoints=("127.0.0.1:1", "127.0.0.1:2"))) as client:
        with pytest.raises(EtcdError, match=r"etcd at 127\.0\.0\.1:[12] can't be reached or has no leader; check endpoints"):
            async with asyncio.timeout(WAIT_S):
                await client.get("/x")
    # The first is not there, the second is.
    async with EtcdClient(EtcdConfig(endpoints=("127.0.0.1:1", *cluster.endpoints))) as client:
        assert await client.get("/x") is None


async def test_a_command_waits_for_etcd_a_while(cluster: EtcdCluster) -> None:
    async with EtcdClient(cluster.config) as client:
        await client.reach("/reach/", 0)
        cluster.kill(0, 1, 2)
        try:
            with pytest.raises(EtcdError, match=r"can't be reached or has no leader; .*; given up after 0 s"):
                await client.reach("/reach/", 0)
            waiting = asyncio.create_task(client.reach("/reach/", WAIT_S))
            await asyncio.sleep(1.5)
            assert not waiting.done()
        finally:
            await asyncio.to_thread(cluster.start, 0, 1, 2)
        await waiting


def certificates(folder: Path, name: str, days: int = 2) -> tuple[Path, Path, Path]:
    """(CA, certificate, key) of a server at 127.0.0.1."""
    folder.mkdir()
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    certificate, key, request = folder / "server.pem", folder / "server.key", folder / "server.csr"
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-subj", f"/CN={name}", "-days", "2")
    openssl("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=etcd")
    signing = ("-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-extfile", extensions)
    openssl("x509", "-req", "-in", request, "-out", certificate, *signing, "-days", str(days))
    return ca, certificate, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed; it makes the certificates")
async def test_tls(tmp_path: Path) -> None:
    own, other = certificates(tmp_path / "own", "own"), certificates(tmp_path / "other", "other")
    with EtcdCluster(1, tls=own) as server:
        async with EtcdClient(server.config) as client:
            await client.put("/secret", b"1")
        async with EtcdClient(EtcdConfig(endpoints=server.endpoints, ca_file=str(other[0]))) as client:
            with pytest.raises(EtcdError, match="the TLS handshake failed; check ca_file"):
                await client.get("/secret")
        async with EtcdClient(EtcdConfig(endpoints=server.endpoints)) as client:
            with pytest.raises(EtcdError, match="can't be reached"):
                await client.get("/secret")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed; it makes the certificates")
async def test_an_expired_certificate_is_named(tmp_path: Path) -> None:
    expired = certificates(tmp_path / "expired", "own", days=-1)
    # Not made ready by etcdctl, which refuses it too.
    server = EtcdCluster(1, tls=expired)
    server._wait_ready = lambda: None  # type: ignore[method-assign]
    with server:
        await asyncio.sleep(1.0)
        async with EtcdClient(server.config) as client:
            with pytest.raises(EtcdError, match="the TLS handshake failed; check ca_file"):
                await client.get("/secret")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"endpoints": ()}, "endpoints must name at least one member"),
        ({"endpoints": ("a:1",), "key_file": "k"}, "certificate_file and key_file go together"),
        ({"endpoints": ("a:1",), "certificate_file": "c", "key_file": "k"}, "certificate_file goes with ca_file only"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EtcdConfig(**config)  # type: ignore[arg-type]


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"etcd\.ca_file: .*absent cannot be read"):
        EtcdClient(EtcdConfig(endpoints=("127.0.0.1:1",), ca_file=str(tmp_path / "absent")))


async def until_it_asks_for_names(cluster: EtcdCluster) -> None:
    """Returns once a cluster with users answers."""
    async with asyncio.timeout(WAIT_S), EtcdClient(cluster.config) as nobody:
        while True:
            try:
                await nobody.get("/tokenline/a")
            except EtcdError as error:
                if "refuses anonymous calls" in str(error):
                    return
            await asyncio.sleep(0.05)


async def test_a_user_with_a_password(tmp_path: Path) -> None:
    password_file, wrong_file = tmp_path / "password", tmp_path / "wrong"
    password_file.write_text("s3cret\n", encoding="ascii")
    wrong_file.write_text("guess", encoding="ascii")
    with EtcdCluster(1) as cluster:
        cluster.require_password("tokenline", "s3cret", "/tokenline/")
        named = EtcdConfig(endpoints=cluster.endpoints, username="tokenline", password_file=str(password_file))
        async with EtcdClient(named) as client, following(client, "/tokenline/") as seen:
            await client.put("/tokenline/a", b"1", await client.grant(60))
            await until(lambda: bool(seen) and "a" in seen[-1].keys)
            # Its token ends with etcd's memory of it.
            cluster.kill(0)
            cluster.start(0, ready=False)
            await put_somewhere(client, "/tokenline/b")
            await until(lambda: "b" in seen[-1].keys)
            with pytest.raises(EtcdError, match=r"user 'tokenline' is not permitted; grant its role readwrite on the prefix"):
                await client.put("/elsewhere", b"")
        async with EtcdClient(named) as client:
            await client.put("/tokenline/c", b"")
            cluster.kill(0)
            cluster.start(0, ready=False)
            await until_it_asks_for_names(cluster)
            # All have the old token at first.
            assert None not in await asyncio.gather(*(client.put_if(f"/tokenline/many/{number}", b"") for number in range(100)))
        async with EtcdClient(
            EtcdConfig(endpoints=cluster.endpoints, username="tokenline", password_file=str(wrong_file))
        ) as client:
            with pytest.raises(EtcdError, match=r"the password of user 'tokenline' is wrong, or there is no such user"):
                await client.get("/tokenline/a")
            # Waiting does not cure that.
            with pytest.raises(EtcdError, match=r"is wrong, or there is no such user"):
                await asyncio.wait_for(client.reach("/tokenline/", 10 * WAIT_S), WAIT_S)
        async with EtcdClient(cluster.config) as client:
            with pytest.raises(EtcdError, match=r"refuses anonymous calls: give username and password_file"):
                await client.get("/tokenline/a")
    with pytest.raises(ValueError, match="username and password_file go together"):
        EtcdConfig(endpoints=("127.0.0.1:1",), username="tokenline")
