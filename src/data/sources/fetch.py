"""Fetching one large file over HTTP: resumed where it broke off, retried, and checked by its md5."""

import hashlib
import http.client
import logging
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO

from tqdm import tqdm

ATTEMPTS = 5  # in a row without a new byte
TIMEOUT = 60  # seconds of silence
CHUNK = 1 << 16  # bytes
RETRIED = (408, 429)  # besides 5xx, the only statuses that say "later"
BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)

log = logging.getLogger(__name__)


def fetch(url: str, target: Path, md5: str, pause: float = 1.0, timeout: float = TIMEOUT) -> None:
    """Download `url` to `target`, which appears only once its md5 (hex) is right.

    What has arrived waits in `<target>.part`; another call goes on from there. If the pieces do not fit
    together (the file has changed meanwhile), they are thrown away and it starts once more from the beginning.
    Server errors (5xx), broken connections and servers that say nothing for `timeout` seconds are tried again
    after `pause`, 2 * `pause`, ... seconds, up to 5 times in a row without a new byte. Only http and https are
    followed.

    Raises ValueError, with the address, when the server refuses, stays away, or sends another file; OSError
    when the disk does not take it.
    """
    _check_scheme(url)
    part = target.with_name(target.name + ".part")
    if not has_md5(part, md5):
        in_pieces = _receive_all(url, part, pause, timeout)
        if in_pieces and not has_md5(part, md5):
            log.warning("%s has changed since its download began: starting over", url)
            part.unlink()
            _receive_all(url, part, pause, timeout)
    if not has_md5(part, md5):
        found = _md5(part)
        part.unlink()
        raise ValueError(f"{url}: wrong checksum: md5 {found}, expected {md5}; what was downloaded is deleted")
    part.replace(target)


def _receive_all(url: str, part: Path, pause: float, timeout: float) -> bool:
    """Ask until the server has sent everything; return whether `part` is now pieced together."""
    in_pieces = _size(part) > 0
    failures = 0
    while True:
        before = _size(part)
        in_pieces = in_pieces or before > 0
        try:
            if _receive(url, part, timeout):
                return in_pieces
            reason = f"the connection ended after {_size(part):,} bytes"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in RETRIED:
                raise ValueError(f"{url}: the server refuses: {error.code} {error.reason}") from error
            reason = f"{error.code} {error.reason}"
        except BROKEN as error:
            reason = str(error) or type(error).__name__
        failures = 1 if _size(part) > before else failures + 1
        if failures == ATTEMPTS:
            raise ValueError(
                f"{url}: tried {ATTEMPTS} times, the last time: {reason}. What has arrived"
                f" ({_size(part):,} bytes) is kept: run it again later and it goes on from there"
            )
        log.warning("%s: %s; trying again", url, reason)
        time.sleep(pause * 2 ** (failures - 1))


def _receive(url: str, part: Path, timeout: float) -> bool:
    """Append what one answer of the server holds to `part`; return whether that is all there is."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            return True  # nothing is left to send; the checksum says whether what is here is the file
        raise
    with response:
        if response.status == 206 and not _continues(response.headers, start):
            part.unlink(missing_ok=True)
            return False
        if response.status != 206:
            start = 0  # the server ignores Range and sends everything
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        with part.open("ab" if start else "wb") as file:
            _copy(response, file, start, total, part.name.removesuffix(".part"))
    return total is None or _size(part) == total


def _copy(response: http.client.HTTPResponse, file: IO[bytes], start: int, total: int | None, name: str) -> None:
    bar = tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=None)
    with bar:
        while chunk := response.read1(CHUNK):  # what has come, so that nothing is lost when the rest does not
            file.write(chunk)
            bar.update(len(chunk))


def _continues(headers: http.client.HTTPMessage, start: int) -> bool:
    """Whether an answer 206 goes on where we stopped: `Content-Range: bytes <start>-<end>/<total>`."""
    return headers.get("Content-Range", "").lower().startswith(f"bytes {start}-")


class _OnlyHttpRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Make an opener that knows http and https and nothing else; the default one reads file: and ftp: too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _OnlyHttpRedirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _check_scheme(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url}: only http and https addresses are fetched")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def has_md5(path: Path, md5: str) -> bool:
    """Whether the file is there and its md5 (hex) is this one."""
    return path.exists() and _md5(path) == md5


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
