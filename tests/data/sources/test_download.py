"""Downloading: from a real server on this machine that breaks off, refuses, lies, and recovers."""

import hashlib
import io
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from src.data.sources.download import ATTEMPTS, MAXIMUM_BYTES, OFFICIAL_CHECKSUMS, download_oxford_pet, fetch, unpack
from src.data.sources.oxford_pet import open_oxford_pet

PROJECT = Path(__file__).parents[3]
TRAINVAL = [f"Cat_{number}" for number in range(11)]
TEST = ["dog_1"]
CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files` by name, with Range. Each request takes the next of `faults` while there are any."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self.files: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.asked: list[tuple[str, str | None]] = []  # path, and the Range header


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.strip("/")
        wanted = self.headers.get("Range")
        self.server.asked.append((name, wanted))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault and fault.isdigit():
            return self.send_error(int(fault))
        if name not in self.server.files:
            return self.send_error(404)
        content = self.server.files[name]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and fault != "ignore range" else 0
        if start and start >= len(content):
            return self.send_error(416)
        body = content[start:]
        if start:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if fault not in ("no length", "break without length"):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if fault in (None, "no length", "ignore range") else body[: len(body) // 2])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("src.data.sources.download.PAUSE", 0)
    running = Server()
    running.files["file"] = CONTENT
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Callable[[], Path]:
    """Fetches the server's file, without waiting between attempts."""

    def fetch_file(md5: str = MD5) -> Path:
        target = tmp_path / "file"
        fetch(server.url + "file", target, md5)
        return target

    return fetch_file


# --- fetch


def test_file_arrives_whole(server: Server, get) -> None:
    target = get()
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file"]  # and no .part
    assert server.asked == [("file", None)]


def test_broken_download_resumes_where_it_stopped(server: Server, get) -> None:
    """300,000 bytes: half, half of the rest, and the rest."""
    server.faults = ["break", "break"]
    assert get().read_bytes() == CONTENT
    assert server.asked == [("file", None), ("file", "bytes=150000-"), ("file", "bytes=225000-")]


def test_another_call_resumes_where_the_first_stopped(server: Server, get, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:100])
    assert get().read_bytes() == CONTENT
    assert server.asked == [("file", "bytes=100-")]


def test_a_part_that_is_whole_is_not_sent_again(server: Server, get, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT
    assert server.asked == [("file", "bytes=300000-")]


@pytest.mark.parametrize("rest", [b"older file" * 1000, bytes(400_000)])
def test_a_part_of_another_file_is_deleted_and_the_next_call_starts_from_the_beginning(get, tmp_path, rest) -> None:
    (tmp_path / "file.part").write_bytes(rest)
    with pytest.raises(ValueError, match="wrong checksum"):
        get()
    assert get().read_bytes() == CONTENT


def test_server_that_ignores_range_sends_all_again(server: Server, get) -> None:
    server.faults = ["break", "ignore range"]
    assert get().read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_answer_without_length_is_read_to_its_end(server: Server, get) -> None:
    server.faults = ["no length"]
    assert get().read_bytes() == CONTENT


def test_body_cut_short_of_unknown_length_never_passes_for_whole(server: Server, get, tmp_path) -> None:
    server.faults = ["break without length"]
    with pytest.raises(ValueError, match="wrong checksum"):
        get()
    assert list(tmp_path.iterdir()) == []


def test_wrong_checksum_is_refused_and_deleted(server: Server, get, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"wrong checksum, expected md5 {'0' * 32}"):
        get("0" * 32)
    assert list(tmp_path.iterdir()) == []
    assert len(server.asked) == 1  # it came in one piece, so asking again would not help


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_server_error_is_tried_again(server: Server, get, status: str) -> None:
    server.faults = [status, status]
    assert get().read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_lasting_server_error_ends_and_keeps_what_has_arrived(server: Server, get, tmp_path: Path) -> None:
    server.faults = ["break", *["500"] * 20]
    with pytest.raises(ValueError, match=r"500 Internal Server Error.*150,000 bytes\) is kept"):
        get()
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:150_000]
    assert len(server.asked) == ATTEMPTS


@pytest.mark.parametrize("status", ["403", "404"])
def test_refusal_is_not_tried_again(server: Server, get, status: str) -> None:
    server.faults = [status]
    with pytest.raises(ValueError, match=f"{server.url}file: the server refuses: {status}"):
        get()
    assert len(server.asked) == 1


def test_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("src.data.sources.download.PAUSE", 0)
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
        with pytest.raises(ValueError, match=r"tried 5 times, .*refused"):
            fetch(url, tmp_path / "file", MD5)


# --- unpack


def archive_of(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    """A .tar.gz of named contents, or of bare members such as links."""
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                name, content = member
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member


def test_folder_is_unpacked(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", ("images/a.jpg", b"A"), ("images/deep/b.jpg", b"B"))
    unpack(archive, tmp_path / "images")
    assert (tmp_path / "images" / "a.jpg").read_bytes() == b"A"
    assert (tmp_path / "images" / "deep" / "b.jpg").read_bytes() == b"B"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "images"]


@pytest.mark.parametrize(
    "evil",
    [
        ("../evil", b""),
        ("images/../../evil", b""),
        ("/tmp/segsweep-evil", b""),
        ("elsewhere/evil", b""),
        ("evil", b""),
        ("images\\..\\..\\evil", b""),
        special("images/link", tarfile.SYMTYPE, "/etc/hostname"),
        special("images/link", tarfile.SYMTYPE, "a.jpg"),
        special("images/link", tarfile.LNKTYPE, "images/a.jpg"),
        special("images/pipe", tarfile.FIFOTYPE),
        special("images/device", tarfile.CHRTYPE),
    ],
    ids=lambda member: member[0] if isinstance(member, tuple) else f"{member.name} type {member.type.decode()}",
)
def test_dangerous_member_is_refused_and_nothing_is_left(tmp_path: Path, evil) -> None:
    folder = tmp_path / "data"
    archive = archive_of(tmp_path / "a.tar.gz", ("images/a.jpg", b"A"), evil)
    with pytest.raises(
        ValueError, match=r"a\.tar\.gz: ('.*' is refused|cannot be unpacked: .* outside the destination)"
    ):
        unpack(archive, folder / "images")
    assert list(folder.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "data"]
    assert not Path("/tmp/segsweep-evil").exists()


def test_file_through_a_link_of_the_same_archive_is_refused(tmp_path: Path) -> None:
    """First a link that leads out, then a file that would be written through it."""
    link = special("images/out", tarfile.SYMTYPE, str(tmp_path / "outside"))
    (tmp_path / "outside").mkdir()
    with pytest.raises(ValueError, match="images/out' is refused"):
        unpack(archive_of(tmp_path / "a.tar.gz", link, ("images/out/evil", b"")), tmp_path / "images")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("sizes", [[MAXIMUM_BYTES + 1], [MAXIMUM_BYTES // 2 + 1] * 2])
def test_archive_that_would_fill_the_disk_is_refused_before_it_does(tmp_path: Path, sizes: list[int]) -> None:
    """A few hundred bytes: headers of sparse files, one or two, that say how much they hold."""
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as members:
        for number, size in enumerate(sizes):
            member = special(f"images/{number}", tarfile.REGTYPE)
            member.pax_headers = {"GNU.sparse.realsize": str(size), "GNU.sparse.map": f"{size},0"}
            members.addfile(member)
    assert archive.stat().st_size < 1000
    with pytest.raises(ValueError, match=r"a\.tar\.gz: 'images/\d' is refused: more than 20,000,000,000 bytes"):
        unpack(archive, tmp_path / "images")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_damaged_archive_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", ("images/a.jpg", CONTENT))
    whole = archive.read_bytes()
    for content in (whole[:-1000], whole[:5000] + bytes(5000) + whole[10_000:], b"<html>", b""):
        archive.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.tar\.gz: (cannot be unpacked|has no folder)"):
            unpack(archive, tmp_path / "images")
        assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_archive_without_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no folder images/"):
        unpack(archive_of(tmp_path / "a.tar.gz"), tmp_path / "images")


# --- download_oxford_pet


@pytest.fixture
def checksums(server: Server, tmp_path: Path, write_oxford_pet) -> dict[str, str]:
    """Puts both archives of a small data set on the server, and gives their md5."""
    source = write_oxford_pet(tmp_path / "source", TRAINVAL, TEST)
    (source / "annotations" / "trimaps" / "._Cat_1.png").write_bytes(b"Mac OS X")
    found = {}
    for name in OFFICIAL_CHECKSUMS:
        folder = name.removesuffix(".tar.gz")
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            archive.add(source / folder, arcname=folder)
        server.files[name] = (tmp_path / name).read_bytes()
        found[name] = hashlib.md5(server.files[name]).hexdigest()
    return found


@pytest.fixture
def download(server: Server, checksums: dict[str, str], tmp_path: Path) -> Callable[[], Path]:
    def download_to_pets() -> Path:
        download_oxford_pet(tmp_path / "pets", server.url, checksums)
        return tmp_path / "pets"

    return download_to_pets


def test_downloaded_data_open_and_hold_the_same_files(download, tmp_path: Path) -> None:
    root = download()
    splits = open_oxford_pet(root)
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (9, 2, 1)
    for file in (tmp_path / "source").rglob("*.*"):
        assert (root / file.relative_to(tmp_path / "source")).read_bytes() == file.read_bytes()
    assert not list(root.rglob("*.tar.gz")) and not list(root.rglob("*.part"))


def test_second_call_asks_nothing(server: Server, download) -> None:
    download()
    server.asked.clear()
    download()
    assert server.asked == []


def test_data_unpacked_by_hand_are_taken_as_they_are(server: Server, checksums, tmp_path: Path) -> None:
    source = tmp_path / "source"
    download_oxford_pet(source, server.url, checksums)
    assert server.asked == []
    assert sorted(path.name for path in source.iterdir()) == ["annotations", "images"]


def test_half_an_extraction_by_hand_is_named_and_stays(server: Server, download, tmp_path: Path) -> None:
    (tmp_path / "pets" / "images").mkdir(parents=True)
    (tmp_path / "pets" / "images" / "Cat_0.jpg").write_bytes(b"half a fi")
    with pytest.raises(ValueError, match=r"lacks 11 of the files .* move its folders"):
        download()
    assert (tmp_path / "pets" / "images" / "Cat_0.jpg").read_bytes() == b"half a fi"


def test_finished_archive_is_not_fetched_again(server: Server, download) -> None:
    """The server loses the second archive: the first stays unpacked, and a later call fetches only the second."""
    images = server.files.pop("images.tar.gz")
    with pytest.raises(ValueError, match=r"(?s)images\.tar\.gz: the server refuses: 404.*put images\.tar\.gz \(md5"):
        download()
    server.files["images.tar.gz"] = images
    server.asked.clear()
    assert len(open_oxford_pet(download()).test) == 1
    assert server.asked == [("images.tar.gz", None)]


def test_archives_put_there_by_hand_need_no_network(server: Server, download, tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    for name in OFFICIAL_CHECKSUMS:
        (tmp_path / name).rename(tmp_path / "pets" / name)
    root = download()
    assert server.asked == []
    assert len(open_oxford_pet(root).test) == 1
    assert all((root / name).exists() for name in OFFICIAL_CHECKSUMS)  # they are the user's


def test_wrong_archive_is_never_unpacked(server: Server, download, tmp_path: Path) -> None:
    server.files["images.tar.gz"] = b"<html>we have moved</html>"
    with pytest.raises(ValueError, match=r"images\.tar\.gz: wrong checksum"):
        download()
    assert not (tmp_path / "pets" / "images").exists()
    assert not list((tmp_path / "pets").rglob("*.part"))


def test_file_deleted_after_the_download_is_named(server: Server, download) -> None:
    root = download()
    (root / "images" / "dog_1.jpg").unlink()
    server.asked.clear()
    with pytest.raises(
        ValueError, match=r"lacks 1 of the files that its lists name .*images/dog_1\.jpg.* move its folders"
    ):
        download()
    assert server.asked == []


def test_folder_that_cannot_be_written_is_named(server: Server, checksums, tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(ValueError, match=r"cannot write the data to .*occupied"):
        download_oxford_pet(tmp_path / "occupied", server.url, checksums)


def test_process_killed_while_it_unpacks_leaves_nothing_that_passes_for_whole(
    server: Server, checksums, download, tmp_path: Path
) -> None:
    """The process ends itself, as the system would, with the sixth file of the second archive."""
    program = f"""
import os, signal, tarfile
from pathlib import Path
from src.data.sources.download import download_oxford_pet
extract = tarfile.TarFile.extract
def extract_some(members, member, *where, **how):
    if "images/" in member.name and len(list(Path({str(tmp_path / "pets")!r}).rglob("*.jpg"))) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    extract(members, member, *where, **how)
tarfile.TarFile.extract = extract_some
download_oxford_pet(Path({str(tmp_path / "pets")!r}), {server.url!r}, {checksums!r})
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "pets").rglob("*.jpg"))) == 5
    with pytest.raises(ValueError, match=r"no Oxford-IIIT Pet data in .*: images not found"):
        open_oxford_pet(tmp_path / "pets")
    server.asked.clear()
    splits = open_oxford_pet(download())
    assert len([*splits.train, *splits.valid, *splits.test]) == len(list((tmp_path / "pets").rglob("*.jpg"))) == 12
    assert server.asked == []  # the archive itself had arrived


def test_two_processes_at_once_download_once(server: Server, checksums, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from src.data.sources.download import download_oxford_pet;"
        f"download_oxford_pet(Path({str(tmp_path / 'pets')!r}), {server.url!r}, {checksums!r})"
    )
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, cwd=PROJECT, stderr=-1, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[1] for process in processes] == ["", ""]
    assert sorted(server.asked) == [("annotations.tar.gz", None), ("images.tar.gz", None)]
    assert len(open_oxford_pet(tmp_path / "pets").test) == 1
