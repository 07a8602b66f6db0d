"""Pulling from Hugging Face: what is fetched, where it goes, and what happens when something goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.servers.huggingface import COMMIT, FakeCdn, FakeHub, Faults, HubContent
from tests.servers.serving import Served, serving
from workbench.core.errors import (
    BeingPulledError,
    BrokenOffError,
    ChangedFileError,
    DigestError,
    DiskFullError,
    GatedError,
    NotPublishedError,
    OfflineError,
    PullError,
    RateLimitError,
    TargetError,
    WorkbenchError,
)
from workbench.core.pulls import PullProgress
from workbench.core.secret import Secret
from workbench.engine.remote.registries import RegistryTransport
from workbench.library.places import Places
from workbench.library.pull.hub import HubClient, HubSettings, Location
from workbench.library.pull.part import PartFile
from workbench.library.pull.pull import Puller, PullResult, _Meter
from workbench.library.pull.references import HubRef
from workbench.library.pull.targets import FolderTarget, HubCacheTarget
from workbench.library.pull.variants import RemoteFile, choose
from workbench.library.pull.web import Patience, Web
from workbench.library.search import STORES
from workbench.store.locks import try_lock

BLOCK = 2**17
"""The blocks of these tests, in bytes: small, since everything passes through a server in Python."""
NAME = "maker/Tiny-GGUF"
BIG = random.Random(1).randbytes(2 * BLOCK + 12_345)
SMALL = random.Random(2).randbytes(10_000)
FILES = {"Tiny-Q4_K_M.gguf": BIG, "Tiny-Q8_0.gguf": SMALL, "README.md": b"# Tiny"}
REFUSALS = 4


@dataclass
class Registry:
    """The two servers, and a puller that asks them."""

    content: HubContent
    hub: FakeHub
    cdn: FakeCdn
    url: str
    cache: Path
    waits: list[float] = field(default_factory=list)
    progress: list[PullProgress] = field(default_factory=list)

    def pull(
        self,
        quant: str = "",
        into: Path | None = None,
        *,
        token: str = "",
        offline: str = "",
        copies: Sequence[Path] = (),
    ) -> PullResult:
        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        async def work() -> PullResult:
            web = Web(RegistryTransport(), Patience(tries=REFUSALS, base_s=0.5, stall_s=0.1, sleep=sleep))
            try:
                client = HubClient(web, HubSettings(self.url, Secret(token) if token else None, offline))
                repository = await client.repository(HubRef(NAME))
                variant = choose(repository.variants, quant, NAME)
                puller = Puller(web, try_lock, copies_of=lambda _: iter(copies))
                files = [*variant.files, *([variant.projector] if variant.projector else [])]
                target = FolderTarget(into) if into else HubCacheTarget(self.cache, repository, try_lock)

                async def locate(file: RemoteFile) -> Location:
                    return await client.locate(repository, file)

                return await puller.pull(files, target, locate, self.progress.append)
            finally:
                await web.transport.close()

        return asyncio.run(work())


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch) -> None:
    for module in ("part", "download"):
        monkeypatch.setattr(f"workbench.library.pull.{module}.BLOCK", BLOCK)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Served, Served]]:
    """The Hub and the CDN, whose content each test replaces."""
    cdn = FakeCdn(HubContent(NAME, {}))
    with serving(cdn) as served_cdn, serving(FakeHub(cdn.content, served_cdn.url)) as served_hub:
        yield served_hub, served_cdn


@pytest.fixture
def registry(servers, tmp_path: Path) -> Callable[..., Registry]:
    hub, cdn = servers[0].server, servers[1].server

    def start(files: dict[str, bytes] | None = None, *, page_size: int = 1000, token: str = "", **faults) -> Registry:
        content = HubContent(NAME, files or FILES, faults=Faults(**faults), page_size=page_size, token=token)
        hub.content = cdn.content = content
        hub.asked.clear()
        cdn.asked.clear()
        cdn.sent = 0
        return Registry(content, hub, cdn, servers[0].url, tmp_path / "cache" / "hub")

    return start


def partials(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.workbench-part"))


def test_a_pull_writes_the_layout_of_the_hugging_face_cache(registry) -> None:
    there = registry()
    result = there.pull()
    folder = there.cache / "models--maker--Tiny-GGUF"
    digest = hashlib.sha256(BIG).hexdigest()
    assert result.path == folder / "snapshots" / COMMIT / "Tiny-Q4_K_M.gguf"
    assert str(result.path.readlink()) == f"../../blobs/{digest}"
    assert (folder / "blobs" / digest).read_bytes() == BIG
    assert (folder / "refs" / "main").read_bytes() == COMMIT.encode()
    assert (there.cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    assert [path.name for path in (folder / "blobs").iterdir()] == [digest]
    assert (result.size_bytes, result.sha256[result.path], result.already, result.resumed_bytes) == (
        len(BIG),
        digest,
        False,
        0,
    )
    assert there.progress[-1].done_bytes == there.progress[-1].total_bytes == len(BIG)


def test_the_library_finds_what_was_pulled(registry) -> None:
    there = registry()
    there.pull("Q8_0")
    places = Places(Path("/nobody"), {"HF_HUB_CACHE": str(there.cache)})
    (found,) = STORES["huggingface"](places)
    assert (found.place.name, found.digest) == (NAME, hashlib.sha256(SMALL).hexdigest())


def test_a_second_pull_fetches_nothing(registry) -> None:
    there = registry()
    there.pull()
    sent = there.cdn.sent
    assert there.pull().already
    assert there.cdn.sent == sent == len(BIG)


def test_every_request_to_the_cdn_has_a_range_and_no_token(registry) -> None:
    there = registry(token="hf_secret")
    there.pull(token="hf_secret")
    assert all(asked.headers["authorization"] == "Bearer hf_secret" for asked in there.hub.asked)
    assert there.cdn.asked
    assert not any("authorization" in asked.headers for asked in there.cdn.asked)
    assert all(there.cdn.ranges)


def test_a_large_file_comes_in_parallel_ranges(registry) -> None:
    there = registry()
    there.pull()
    assert len({int(text.removeprefix("bytes=").partition("-")[0]) for text in there.cdn.ranges}) > 1


def test_the_last_ranges_are_small_so_that_the_digest_waits_for_few_bytes(registry) -> None:
    there = registry({"Tiny-Q4_K_M.gguf": BIG * 16})
    there.pull()
    ends = sorted(tuple(map(int, text.removeprefix("bytes=").split("-"))) for text in there.cdn.ranges)
    lengths = [end + 1 - begin for begin, end in ends]
    assert lengths[0] == 4 * BLOCK
    assert max(lengths[-4:]) <= BLOCK
    assert len(lengths) < 25


@pytest.mark.parametrize(
    "faults",
    [{"cut_after": BLOCK // 3}, {"stalls": 2}, {"expired": 2}, {"broken": 3}, {"busy": 2}, {"ignore_ranges": True},
     {"ignore_ranges": True, "cuts": 2, "cut_after": BLOCK + 5}],
    ids=str,
)  # fmt: skip
def test_a_pull_gets_over(registry, faults) -> None:
    there = registry(**faults)
    assert there.pull().path.read_bytes() == BIG


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        ({"cut_after": 0}, BrokenOffError, "breaks off"),
        ({"broken": 10**6}, BrokenOffError, "HTTP 503"),
        ({"expired": 10**6}, BrokenOffError, "HTTP 403"),
        ({"busy": 10**6}, RateLimitError, "no more requests"),
        ({"busy": 1, "busy_headers": {"Retry-After": "86400"}}, RateLimitError, "86400 s"),
        ({"wrong_range": True}, PullError, "another range"),
        ({"grown": True}, ChangedFileError, "changed while it was fetched"),
        ({"moved_on": True}, ChangedFileError, "changed while it was fetched"),
        ({"gated": True}, GatedError, "Ask for access at http://"),
        ({"login_page": True}, PullError, "a web page"),
    ],
    ids=str,
)
def test_a_pull_that_fails_says_why_and_leaves_no_file(registry, faults, kind, words: str) -> None:
    there = registry(**faults)
    with pytest.raises(kind) as caught:
        there.pull()
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert not list(there.cache.rglob("*.gguf"))


def test_a_wrong_digest_removes_what_arrived_and_the_next_pull_begins_anew(registry) -> None:
    there = registry(corrupt=True)
    with pytest.raises(DigestError, match="not the file"):
        there.pull()
    assert not partials(there.cache)
    there.content.faults.corrupt = False
    assert there.pull().path.read_bytes() == BIG


def test_what_arrived_before_an_error_is_not_fetched_again(registry) -> None:
    there = registry(cut_after=BLOCK // 2, fails_after=BLOCK)
    with pytest.raises(BrokenOffError, match="HTTP 503"):
        there.pull()
    (part,) = partials(there.cache)
    there.content.faults.fails_after = None
    result = there.pull()
    assert result.path.read_bytes() == BIG
    assert BLOCK <= result.resumed_bytes < len(BIG)
    assert there.cdn.sent == len(BIG)
    assert not part.exists()


def test_the_wait_is_the_one_that_the_server_asks_for(registry) -> None:
    there = registry(busy=1, busy_headers={"Retry-After": "7"})
    there.pull("Q8_0")
    assert there.waits == [7.0]
    there = registry(busy=1, busy_headers={"RateLimit": '"resolvers";r=0;t=55'})
    there.pull("Q8_0")
    assert there.waits == [56.0]


def test_gated_repositories(registry) -> None:
    there = registry(gated=True, token="hf_right")
    with pytest.raises(GatedError, match="was not given access"):
        there.pull(token="hf_other")
    assert there.pull(token="hf_right").path.read_bytes() == BIG


def test_a_wrong_token_is_named(registry) -> None:
    with pytest.raises(GatedError, match="does not accept the token"):
        registry(token="hf_right").pull(token="hf_wrong")


def test_offline_asks_nothing(registry) -> None:
    there = registry()
    with pytest.raises(OfflineError, match="HF_HUB_OFFLINE is set"):
        there.pull(offline="HF_HUB_OFFLINE")
    assert not there.hub.asked


def test_all_pages_of_a_tree_are_read(registry) -> None:
    assert registry(page_size=1).pull("Q8_0").path.read_bytes() == SMALL


def test_a_split_model_comes_whole_and_its_picture_encoder_with_it(registry) -> None:
    parts = {f"Q4_K_M/Big-Q4_K_M-0000{number}-of-00002.gguf": bytes([number]) * 100 for number in (1, 2)}
    there = registry({**parts, "mmproj-Big-f16.gguf": b"eyes"})
    result = there.pull("Q4_K_M")
    assert [path.name for path in result.files] == [
        "Big-Q4_K_M-00001-of-00002.gguf", "Big-Q4_K_M-00002-of-00002.gguf", "mmproj-Big-f16.gguf",
    ]  # fmt: skip
    assert [path.read_bytes() for path in result.files] == [*parts.values(), b"eyes"]
    assert str(result.path.readlink()).startswith("../../../blobs/")


def test_files_of_an_earlier_commit_stay_visible(registry) -> None:
    there = registry()
    there.pull("Q8_0")
    there.content.commit = "d" * 40
    there.pull("Q4_K_M")
    snapshot = there.cache / "models--maker--Tiny-GGUF" / "snapshots" / ("d" * 40)
    assert sorted(path.name for path in snapshot.iterdir()) == ["Tiny-Q4_K_M.gguf", "Tiny-Q8_0.gguf"]
    assert (snapshot.parents[1] / "refs" / "main").read_text() == "d" * 40


def test_into_a_folder(registry, tmp_path: Path) -> None:
    there, folder = registry(), tmp_path / "mine"
    assert there.pull("Q8_0", folder).path == folder / "Tiny-Q8_0.gguf"
    assert [path.name for path in folder.iterdir()] == ["Tiny-Q8_0.gguf"]
    assert there.pull("Q8_0", folder).already
    (folder / "Tiny-Q8_0.gguf").write_bytes(b"another")
    with pytest.raises(TargetError, match="another file"):
        there.pull("Q8_0", folder)


def test_a_full_disk_is_said_before_anything_is_fetched(registry, monkeypatch) -> None:
    there = registry()
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("workbench.library.pull.pull.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DiskFullError, match=r"268\.1 KiB are missing"):
        there.pull()
    assert not there.cdn.asked


def test_two_programs_do_not_fetch_one_file_twice(registry) -> None:
    there = registry()
    digest = hashlib.sha256(SMALL).hexdigest()
    locks = there.cache / ".locks" / "models--maker--Tiny-GGUF"
    locks.mkdir(parents=True)
    with (locks / f"{digest}.lock").open("w") as held:
        assert try_lock(held.fileno())
        with pytest.raises(BeingPulledError, match="Another program"):
            there.pull("Q8_0")
    assert there.pull("Q8_0").path.read_bytes() == SMALL


def test_an_unknown_quantization_names_those_that_there_are(registry) -> None:
    with pytest.raises(NotPublishedError, match="Did you mean 'Q4_K_M'"):
        registry().pull("Q4_K_S")


@pytest.mark.parametrize("same_boot", [True, False])
def test_after_a_crash_of_the_machine_only_flushed_bytes_count(tmp_path: Path, monkeypatch, same_boot: bool) -> None:
    boots = iter(["first", "first" if same_boot else "second"])
    monkeypatch.setattr("workbench.library.pull.part.boot_id", lambda: next(boots))
    path = tmp_path / "x.workbench-part"
    part = PartFile(path, 2 * BLOCK, "d", lambda _: True)
    part.write(0, b"a" * 1000)
    part.flush()
    part.write(1000, b"b" * 500)
    part.write(BLOCK, b"c" * 10)
    part.close(flush=False)
    again = PartFile(path, 2 * BLOCK, "d", lambda _: True)
    assert (again.done, again.prefix) == ((1510, 1500) if same_boot else (1000, 1000))
    assert again.missing()[0][0] == again.prefix
    again.close()


def test_a_part_of_another_file_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "x.workbench-part"
    for digest in ("one", "other"):
        part = PartFile(path, 100, digest, lambda _: True)
        assert part.done == 0
        part.write(0, b"abc")
        part.close()


def test_errors_are_of_the_program(registry) -> None:
    there = registry()
    there.url = "http://127.0.0.1:1"
    with pytest.raises(WorkbenchError, match=r"127\.0\.0\.1:1"):
        there.pull()


def test_a_disk_that_something_else_fills_stops_the_pull_and_keeps_what_came(registry, monkeypatch) -> None:
    there = registry()
    free = iter([2**40, 2**40])
    usage = type("Usage", (), {"free": property(lambda _: next(free, 1000))})
    monkeypatch.setattr("workbench.library.pull.pull.shutil.disk_usage", lambda _: usage())
    monkeypatch.setattr("workbench.library.pull.pull._REPORT_S", 1e-9)
    with pytest.raises(DiskFullError, match="something else fills it"):
        there.pull()
    monkeypatch.undo()
    assert partials(there.cache)


def test_bytes_that_were_there_count_as_done_and_not_in_the_rate() -> None:
    seen: list[PullProgress] = []
    meter = _Meter(10_000, Path("/"), seen.append, kept=9_000)
    now = iter([1.0, 2.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.library.pull.pull.time.monotonic", lambda: next(now))
        meter.note(9_000, 0, force=True)
        meter.note(9_100, 0, force=True)
    assert (seen[-1].done_bytes, seen[-1].rate, seen[-1].seconds_left) == (9_100, 100.0, 9.0)


def test_a_file_that_another_program_has_is_linked_and_not_fetched(registry, tmp_path: Path) -> None:
    there, theirs = registry(), tmp_path / "blobs" / "sha256-x"
    theirs.parent.mkdir()
    theirs.write_bytes(SMALL)
    result = there.pull("Q8_0", copies=[tmp_path / "missing", theirs])
    assert result.path.read_bytes() == SMALL
    assert not there.cdn.asked
    ((source, way),) = result.linked
    assert source == theirs
    assert (theirs.stat().st_nlink == 2) == (way == "hard link")


def test_a_wrong_copy_of_another_program_is_not_used(registry, tmp_path: Path) -> None:
    there, theirs = registry(), tmp_path / "sha256-x"
    theirs.write_bytes(SMALL[:-1] + b"?")
    assert there.pull("Q8_0", copies=[theirs]).path.read_bytes() == SMALL
    assert there.cdn.asked
