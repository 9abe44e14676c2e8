"""`conclip fetch` from a server of this machine: what arrives, what is refused, and what breaks in the middle."""

import hashlib
import io
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dataset_scripts.benchmarks import downloads, fetch_files
from dataset_scripts.benchmarks.downloads import DOWNLOADS
from dataset_scripts.benchmarks.fetch_command import main
from dataset_scripts.benchmarks.fetch_files import Download
from dataset_scripts.benchmarks.registry import BENCHMARKS
from dataset_scripts.benchmarks.sugarcrepe import SUGARCREPE

CONTENT = bytes(range(256)) * 40
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
# What is said of a benchmark whose images are not in the list.
IMAGES = f"sugarcrepe: the images are not fetched by this command. {SUGARCREPE.source}\n"


class Server:
    """
    Args (attributes):
        files: path -> content.
        breaks: after how many bytes each of the next answers breaks off.
        ranges: what was asked for, e.g. "bytes=100-"; `None` for everything.
        parts: whether it sends parts of files.
        statuses: of the next answers, in place of 200.
    """

    def __init__(self, url: str):
        self.url, self.files, self.breaks, self.ranges, self.parts, self.statuses = url, {}, [], [], True, []


@contextmanager
def serving():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.ranges.append(self.headers.get("Range"))
            content = state.files.get(self.path)
            status = state.statuses.pop(0) if state.statuses else 200 if content is not None else 404
            if status != 200:
                self.send_error(status)
                return
            start = int(state.ranges[-1][6:-1]) if state.ranges[-1] and state.parts else 0
            if start >= len(content) and start:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = start + state.breaks.pop(0) if state.breaks else None
            self.wfile.write(content[start:end])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state = Server(f"http://127.0.0.1:{server.server_port}")
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch_files, "FIRST_WAIT", 0)
    with serving() as state:
        yield state


@pytest.fixture
def fetch(server, tmp_path, monkeypatch, capsys):
    """Fetches sugarcrepe as given: exit status, standard output, the sentence after "Error: "."""

    def fetch_(*files: Download, options=("sugarcrepe",), images=()):
        monkeypatch.setitem(downloads.DOWNLOADS, "sugarcrepe", (files, images))
        status = main([*options, "--data_dir", str(tmp_path)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        errors = [line.removeprefix("Error: ") for line in err.splitlines() if line.startswith("Error: ")]
        return status, out, errors[-1] if errors else ""

    return fetch_


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/") + ".jpg", content)
    return buffer.getvalue()


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_file_arrives_once(server, fetch, tmp_path):
    server.files["/a.json"] = CONTENT
    file = Download(f"{server.url}/a.json", "sugarcrepe/a.json", SHA256)
    assert fetch(file)[:2] == (0, f"{tmp_path}/sugarcrepe/a.json: fetched\n" + IMAGES)
    assert (tmp_path / "sugarcrepe/a.json").read_bytes() == CONTENT and names(tmp_path) == {"sugarcrepe/a.json"}
    assert fetch(file)[:2] == (0, f"{tmp_path}/sugarcrepe/a.json: there already\n" + IMAGES)
    assert server.ranges == [None]
    without = Download(f"{server.url}/a.json", "sugarcrepe/b.json")
    assert "b.json: fetched, checksum not known\n" in fetch(without)[1]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server, fetch, tmp_path):
    server.files["/a.json"], server.breaks = CONTENT, [1000, 0, 500]
    server.statuses = [200, 503]
    assert fetch(Download(f"{server.url}/a.json", "a.json", SHA256))[0] == 0
    assert server.ranges == [None, "bytes=1000-", "bytes=1000-", "bytes=1000-", "bytes=1500-"]
    assert (tmp_path / "a.json").read_bytes() == CONTENT


def test_a_line_that_breaks_often_gets_there(server, fetch, tmp_path):
    server.files["/a.json"], server.breaks = CONTENT, [1000] * 9
    assert fetch(Download(f"{server.url}/a.json", "a.json", SHA256))[0] == 0
    assert len(server.ranges) == 10 and (tmp_path / "a.json").read_bytes() == CONTENT


def test_a_later_command_continues(server, fetch, tmp_path):
    server.files["/a.json"], server.breaks = CONTENT, [1000, 0, 0, 0, 0]
    file = Download(f"{server.url}/a.json", "a.json", SHA256)
    status, _, message = fetch(file)
    assert status == 1 and message.startswith(f"{server.url}/a.json cannot be fetched (")
    assert message.endswith(f": repeat the command; {tmp_path}/a.json.part keeps what has arrived.")
    assert names(tmp_path) == {"a.json.part"}
    assert fetch(file)[0] == 0 and server.ranges[-1] == "bytes=1000-"
    assert names(tmp_path) == {"a.json"}


def test_a_server_that_sends_no_parts(server, fetch, tmp_path):
    server.files["/a.json"], server.breaks, server.parts = CONTENT, [1000], False
    assert fetch(Download(f"{server.url}/a.json", "a.json", SHA256))[0] == 0
    assert (tmp_path / "a.json").read_bytes() == CONTENT


def test_a_download_that_ended_just_before_its_name(server, fetch, tmp_path):
    server.files["/a.json"] = CONTENT
    (tmp_path / "a.json.part").write_bytes(CONTENT)
    assert fetch(Download(f"{server.url}/a.json", "a.json", SHA256))[0] == 0
    assert names(tmp_path) == {"a.json"}


def test_a_wrong_checksum_leaves_nothing(server, fetch, tmp_path):
    server.files["/a.json"] = CONTENT + b"x"
    message = fetch(Download(f"{server.url}/a.json", "a.json", SHA256))[2]
    assert message.startswith(f"{server.url}/a.json has another checksum than expected") and not names(tmp_path)


def test_a_file_of_the_user_stays(server, fetch, tmp_path):
    (tmp_path / "a.json").write_text("mine")
    message = fetch(Download(f"{server.url}/a.json", "a.json", SHA256))[2]
    assert message == f"{tmp_path}/a.json is not the file of {server.url}/a.json: move it away to fetch that one."
    assert (tmp_path / "a.json").read_text() == "mine" and server.ranges == []


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (404, "the file is not there any more."),
        (410, "the file is not there any more."),
        (403, "it cannot be fetched."),
    ],
)
def test_a_refusal_is_said_at_once(status, says, server, fetch):
    server.statuses = [status]
    message = fetch(Download(f"{server.url}/a.json", "a.json", SHA256))[2]
    assert message.startswith(f"{server.url}/a.json answers {status} (") and message.endswith(says)
    assert len(server.ranges) == 1


def test_too_many_requests_are_tried_again(server, fetch, tmp_path):
    server.files["/a.json"], server.statuses = CONTENT, [429, 408]
    assert fetch(Download(f"{server.url}/a.json", "a.json", SHA256))[0] == 0
    server.statuses = [429] * 5
    message = fetch(Download(f"{server.url}/a.json", "b.json", SHA256))[2]
    assert message == f"{server.url}/a.json cannot be fetched (429 Too Many Requests): repeat the command."


def test_the_time_between_attempts_doubles_and_begins_anew_after_progress(server, fetch, monkeypatch):
    waits = []
    monkeypatch.setattr(fetch_files, "FIRST_WAIT", 3.0)
    monkeypatch.setattr(fetch_files.time, "sleep", waits.append)
    server.files["/a.json"], server.statuses, server.breaks = CONTENT, [500, 503, 200, 500, 500, 500, 500], [1000]
    assert "500 Internal Server Error" in fetch(Download(f"{server.url}/a.json", "a.json", SHA256))[2]
    # Two failures, 1,000 bytes and the end of the connection, four failures.
    assert waits == [3, 6, 3, 6, 12, 24]


def test_room_is_needed_for_what_is_missing(server, fetch, monkeypatch):
    needed = []
    monkeypatch.setattr(fetch_files, "require_room", lambda _, count: needed.append(count))
    server.files["/a.json"], server.breaks = CONTENT, [1000]
    assert fetch(Download(f"{server.url}/a.json", "a.json", SHA256))[0] == 0
    assert needed == [len(CONTENT), len(CONTENT) - 1000]


def test_nobody_answers(fetch):
    message = fetch(Download("http://127.0.0.1:9/a.json", "a.json", SHA256))[2]
    assert message == "http://127.0.0.1:9/a.json cannot be fetched (Connection refused): repeat the command."


def test_an_archive_becomes_a_folder(server, fetch, tmp_path):
    server.files["/val.zip"] = zipped(val__1=b"one", val__2=b"two", other__3=b"three")
    images = Download(f"{server.url}/val.zip", "coco/val", unpack="val")
    assert fetch(images=(images,))[0] == 0
    assert names(tmp_path) == {"coco/val/1.jpg", "coco/val/2.jpg"}
    assert fetch(images=(images,))[0] == 0 and len(server.ranges) == 1
    assert fetch(images=(images,), options=["sugarcrepe", "--annotations_only"])[0] == 1


def test_a_damaged_archive_leaves_nothing(server, fetch, tmp_path):
    server.files["/val.zip"] = zipped(val__1=b"a picture").replace(b"a picture", b"another p")
    images = Download(f"{server.url}/val.zip", "coco/val", unpack="val")
    message = fetch(images=(images,))[2]
    assert message.startswith(f"{server.url}/val.zip is damaged (Bad CRC-32") and not names(tmp_path)
    server.files["/val.zip"] = zipped(other__1=b"x")
    assert fetch(images=(images,))[2] == f"{server.url}/val.zip holds no folder val: it is another file now."


def test_no_file_of_an_archive_leaves_its_folder(server, fetch, tmp_path):
    server.files["/val.zip"] = zipped(val__1=b"one", **{"val__..__..__out": b"x", "__root": b"x"})
    assert fetch(images=(Download(f"{server.url}/val.zip", "coco/val", unpack="val"),))[0] == 0
    assert names(tmp_path) == {"coco/val/1.jpg"}


def test_what_a_program_cannot_fetch_is_said_with_its_address(fetch, capsys):
    status, out, message = fetch(options=["winoground"])
    assert status == 1 and message.startswith("Nothing was fetched for winoground: the lines above")
    assert "winoground: the annotations and the images are not fetched by this command. " in out and "https://" in out
    assert fetch(options=[])[2].startswith("Name the benchmarks to fetch")
    assert fetch(options=["sugarcrap"])[2] == "BENCHMARKS sugarcrap: no such benchmark; did you mean sugarcrepe?"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("list", "Error: BENCHMARKS list: no such benchmark; the benchmarks are scenes-"),
        ("pairs", "Error: BENCHMARKS pairs: name your own set, pairs:FILE.jsonl.\n"),
        ("sugercrepe", "Error: BENCHMARKS sugercrepe: no such benchmark; did you mean sugarcrepe?\n"),
    ],
)
def test_a_name_that_is_none_of_a_benchmark(name, says, tmp_path, capsys):
    assert main([name, "--data_dir", str(tmp_path / "data")]) == 1
    assert capsys.readouterr().err.startswith(says) and not (tmp_path / "data").exists()


def test_the_list_names_benchmarks_that_exist_and_every_file_has_one_address():
    assert set(DOWNLOADS) <= {benchmark.name for benchmark in BENCHMARKS}
    files = {download for parts in DOWNLOADS.values() for part in parts for download in part}
    assert len({file.path for file in files}) == len({file.url for file in files}) == len(files)
    sources = {benchmark.name: benchmark.source for benchmark in BENCHMARKS}
    for name, (_, images) in DOWNLOADS.items():
        assert all(image.url in sources[name] for image in images), name
    assert all(file.checksum for file in files if "raw.githubusercontent.com" in file.url)


def test_what_the_command_downloads_whole_is_said_where_a_file_is_missing():
    whole = {name for name, (annotations, images) in DOWNLOADS.items() if annotations and images}
    said = {benchmark.name for benchmark in BENCHMARKS if "`conclip fetch " in benchmark.source}
    assert said == whole
    for benchmark in BENCHMARKS:
        if benchmark.name in whole:
            name = benchmark.source.partition("`conclip fetch ")[2].partition("`")[0]
            assert DOWNLOADS[name] == DOWNLOADS[benchmark.name]
