"""The fake provider as a program and as a block, its HTTP, and what it may import."""

from __future__ import annotations

import ast
import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser

import examples.fakegemini
from examples.fakegemini import FakeGemini, Faults, Options, most_within, read
from examples.fakegemini.__main__ import arguments, options
from tests.examples.asking import client, content, images

FOLDER = Path(examples.fakegemini.__file__).parent


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.name)
def test_it_imports_the_standard_library_and_itself_only(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [str(node.module)]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            own = name.startswith("examples.fakegemini")
            assert own or name.partition(".")[0] in sys.stdlib_module_names


def test_the_readme_does_what_it_says():
    page = Sybil([CodeBlockParser("python", PythonEvaluator())]).parse(FOLDER / "README.md")
    examples = list(page.examples())
    for example in examples:
        example.evaluate()
    assert len(examples) == 2


def test_the_program_serves_keeps_its_ledger_and_ends_when_told(tmp_path):
    file = tmp_path / "ledger.jsonl"
    command = [sys.executable, "-m", "examples.fakegemini", "--port", "0", "--rpm", "2"]
    command += ["--rpd", "100", "--latency", "0", "--ledger", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        url = program.stdout.readline().strip()
        try:
            with httpx.Client(base_url=url, headers={"x-goog-api-key": "k"}, timeout=30) as http:
                assert http.get("/health").json() == {"status": "healthy"}
                statuses = [content(http).status_code for _ in range(3)]
                ledger = http.get("/ledger").json()
            lines = read(file)  # while it runs
        finally:
            program.send_signal(signal.SIGTERM)
    assert program.returncode == 0
    assert statuses == [200, 200, 429]
    assert ledger["outcomes"] == {"ok": 2, "rate_limited": 1}
    assert ledger["billed"] == sum(entry.billed for entry in lines) > 0
    assert [entry.number for entry in lines] == [one["number"] for one in ledger["entries"]]
    assert most_within(60, (entry.arrived for entry in lines if entry.let_in)) == 2


def test_arguments_become_options():
    given = "--rpm 60 --window bucket --burst 1 --project a=studio --project b=studio --reset 0.1"
    found = options(arguments([*given.split(), "--no-image", "0.2", "--speed", "10"]))
    assert found == Options(
        rpm=60,
        window="bucket",
        burst=1,
        projects={"a": "studio", "b": "studio"},
        faults=Faults(reset=0.1, no_image=0.2),
        speed=10,
        latency=1,
        spread=0.3,
    )


@pytest.mark.parametrize(
    "given, wrong",
    [(["--rpm", "0"], "rpm must be"), (["--project", "studio"], "KEY=PROJECT")],
)
def test_arguments_that_make_no_sense_are_told_in_one_line(given, wrong):
    command = [sys.executable, "-m", "examples.fakegemini", *given]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert wrong in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_an_error_and_leaves_no_thread():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), FakeGemini(port=port):
            pass


async def test_an_async_block_serves_the_loop_that_it_stands_in():
    async with FakeGemini(Options(latency=0.01)) as fake, httpx.AsyncClient() as http:
        asked = [http.post(f"{fake.url}/v1/images/generations", json={}) for _ in range(3)]
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {403}


def test_a_block_writes_the_ledgers_file(tmp_path):
    file = tmp_path / "ledger.jsonl"
    for _ in range(2):
        with FakeGemini(Options(ledger=file)) as fake, client(fake) as http:
            content(http)
    assert [entry.outcome for entry in read(file)] == ["ok", "ok"]


def test_waiting_for_what_never_comes_tells_what_came():
    with FakeGemini() as fake, client(fake) as http:
        content(http)
        with pytest.raises(TimeoutError, match="the ledger has 1 ok"):
            fake.ledger.wait_for(lambda entries: len(entries) == 2, timeout=0.01)


def test_one_connection_serves_many_requests():
    with FakeGemini() as fake, client(fake) as http:
        streams = [content(http).extensions["network_stream"] for _ in range(3)]
        assert len({stream.get_extra_info("client_addr") for stream in streams}) == 1


def test_a_body_may_come_in_chunks():
    body = json.dumps({"prompt": "a red door"}).encode()
    with FakeGemini() as fake, client(fake) as http:
        parts = (body[n : n + 5] for n in range(0, len(body), 5))
        assert http.post("/v1/images/generations", content=parts).status_code == 200
        assert images(http).status_code == 200


@pytest.mark.parametrize(
    "sent, status",
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", 431),
    ],
    ids=["no request", "no header", "no length", "too long", "no chunk", "no end"],
)
def test_what_is_no_request_is_told_so(sent, status):
    with FakeGemini() as fake:
        host, port = fake.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connected:
            connected.sendall(sent)
            assert connected.recv(100).startswith(f"HTTP/1.1 {status} ".encode())
