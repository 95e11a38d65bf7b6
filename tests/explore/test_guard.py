"""Who is let in, with real requests to a real server."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from cryolatent.explore.guard import LARGEST_BODY
from cryolatent.explore.routes import router
from cryolatent.runs.run import Run
from explore.served import Served


def test_the_page_and_its_files_need_the_token(served: Served) -> None:
    for path in ("", "main.js", "style.css", "vendor/three.min.js", "api/runs"):
        assert served.request(f"/{served.token}/{path}")[0] == 200
        assert served.request(f"/{path}")[0] == 403
        assert served.request(f"/{served.token[:-1]}x/{path}")[0] == 403
    assert served.request(f"/{served.token}")[0] == 307
    assert served.request(f"//{served.token}/")[0] == 403


def test_the_page_may_load_nothing_from_elsewhere(served: Served) -> None:
    for path in ("", "main.js", "api/runs"):
        headers = served.headers(f"/{served.token}/{path}")
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_another_host_is_refused(served: Served) -> None:
    path, port = f"/{served.token}/api/runs", served.port
    for host in ("localhost", f"localhost:{port}", "127.0.0.1", "[::1]:9000", "localhost:9000"):
        assert served.request(path, Host=host)[0] == 200, host
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "",
    ):
        assert served.request(path, Host=host)[0] == 403, host


def test_another_origin_is_refused(served: Served) -> None:
    path, own = f"/{served.token}/api/runs/0/selection", f"http://127.0.0.1:{served.port}"
    assert served.request(path, {"steps": []}, Origin=own)[0] == 200
    others = ("http://evil.example", "null", f"https://127.0.0.1:{served.port}", own + "0")
    for origin in (*others, "http://127.0.0.1", f"http://localhost:{served.port}"):
        assert served.request(path, {"steps": []}, Origin=origin)[0] == 403, origin


def test_a_large_body_is_refused(served: Served) -> None:
    path = f"/{served.token}/api/runs/0/selection"
    few = b'{"steps": []}'
    assert served.request(path, few + b" " * (LARGEST_BODY - len(few)))[0] == 200
    assert _said_only(served, path, LARGEST_BODY + 1) == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(LARGEST_BODY // 65536 + 1):
            yield b" " * 65536

    # the door may be shut while the rest is sent
    with suppress(BrokenPipeError, ConnectionResetError):
        assert served.request(path, chunks())[0] == 413
    assert served.request(path, few)[0] == 200


@pytest.mark.parametrize("route", router.routes, ids=lambda route: route.path)
def test_every_address_is_behind_the_door(served: Served, route: APIRoute) -> None:
    path = route.path.replace("{number}", "0").replace("{name:path}", "config.toml")
    inner, body = f"/{served.token}{path}", None if "GET" in route.methods else {}
    assert served.request(inner, body)[0] in (200, 400, 404, 409, 422)
    assert served.request(path, body)[0] == 403
    assert served.request(f"/{served.token[:-1]}x{path}", body)[0] == 403
    assert served.request(inner, body, Host="evil.example")[0] == 403
    assert served.request(inner, body, Origin="http://evil.example")[0] == 403
    assert _said_only(served, inner, LARGEST_BODY + 1) == 413


def _said_only(served: Served, path: str, length: int) -> int:
    """The answer to a body that is announced and never sent."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode())
        return int(connection.recv(4096).split()[1])


@pytest.mark.parametrize("way", ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "/etc/../"])
def test_no_way_up_out_of_a_run_or_of_the_page(served: Served, run: Run, way: str) -> None:
    secret = run.path.parent / "secret.txt"
    secret.write_text("secret")
    base = f"/{served.token}/api/runs/0/files"
    assert served.request(f"{base}/config.toml")[0] == 200
    for path in (f"{base}/{way}secret.txt", f"{base}/analysis/{way}{way}secret.txt"):
        status, body = served.request(path)
        assert status in (400, 403, 404), path
        assert b"secret" not in body.replace(b"secret.txt", b"")
    for deep in range(1, 9):
        status, body = served.request(f"/{served.token}/vendor/{way * deep}pyproject.toml")
        assert status in (400, 403, 404)


def test_links_out_of_a_run_are_not_followed(served: Served, run: Run) -> None:
    secret = run.path.parent / "linked.txt"
    secret.write_text("secret")
    inside, outside, folder = (run.path / name for name in ("in.toml", "out.txt", "up"))
    inside.symlink_to("config.toml")
    outside.symlink_to(secret)
    folder.symlink_to("..")
    try:
        base = f"/{served.token}/api/runs/0/files"
        assert served.request(f"{base}/in.toml")[0] == 200
        assert served.request(f"{base}/out.txt")[0] == 400
        assert served.request(f"{base}/up/linked.txt")[0] == 400
    finally:
        for link in (inside, outside, folder):
            link.unlink()


def test_a_summary_that_points_out_of_the_run_is_not_followed(served: Served, run: Run) -> None:
    volume = run.analysis / "volumes" / "state_1.mrc"
    question = {"of": {"kind": "cluster", "number": 1}}
    path = f"/{served.token}/api/runs/0/volume"
    assert served.request(path, question)[0] == 200
    moved = run.path.parent / "elsewhere.mrc"
    volume.rename(moved)
    volume.symlink_to(moved)
    try:
        assert served.request(path, question)[0] == 400
    finally:
        volume.unlink()
        moved.rename(volume)


def test_exports_go_into_their_folder_alone(served: Served, run: Run) -> None:
    def status(name: str, kind: str = ".npy") -> int:
        steps = [
            {"how": "replace", "region": {"kind": "members", "column": "cluster", "values": [0]}}
        ]
        question = {"selection": {"steps": steps}, "name": name, "kind": kind}
        return served.request(f"/{served.token}/api/runs/0/export", question)[0]

    before = sorted(run.path.parent.rglob("*"))
    for name in ("../up", "a/b", "/tmp/absolute", "..", "", ".hidden", "a\0b", "a\nb", "é"):
        assert status(name) == 400, name
    for kind in ("", ".pkl", "/../../x.npy", ".npy/../y"):
        assert status("kind", kind) == 400, kind
    target = served.exports.parent / "target.npy"
    served.exports.mkdir(exist_ok=True)
    (served.exports / "link.npy").symlink_to(target)
    assert status("link") == 400
    assert not target.exists()
    assert not [*served.exports.glob("kind*"), *served.exports.glob("link.txt")]
    (served.exports / "link.npy").unlink()
    assert sorted(run.path.parent.rglob("*")) == before


def test_marks_and_volumes_go_into_their_folder_alone(served: Served, run: Run) -> None:
    base = f"/{served.token}/api/runs/0"
    before = sorted(run.path.parent.rglob("*"))
    of = {"kind": "cluster", "number": 0}
    for name in ("../up", "a/b", "/tmp/absolute", "..", "", ".hidden", "a\0b"):
        assert served.request(f"{base}/volume/file", {"of": of, "name": name})[0] == 400, name
        question = {"name": f"{name}/x", "kind": ".npy"}
        assert served.request(f"{base}/states", question)[0] == 400, name
    # a name that a user gives to a state cannot lead anywhere
    up = {"names": {"0": "../../up", "1": "/tmp/absolute"}}
    assert served.request(f"{base}/marks", up)[0] == 200
    (kept,) = served.exports.glob("run-*.states.json")
    status, body = served.request(f"{base}/states", {"name": "led", "kind": ".npy"})
    assert status == 200, body
    assert sorted(path.name for path in served.exports.glob("led*")) == [
        "led_tmp_absolute.npy",
        "led_up.npy",
    ]
    # a link in the place of the marks is not followed, neither to write nor to read
    target = served.exports.parent / "target.json"
    target.write_text(kept.read_text())
    kept.unlink()
    kept.symlink_to(target)
    assert served.request(f"{base}/marks", {"junk": [1]})[0] == 400
    assert served.request(f"/{served.token}/api/runs")[0] == 400
    assert "junk" not in target.read_text().replace('"junk": []', "")
    kept.unlink()
    assert sorted(run.path.parent.rglob("*")) == before


def test_measured_maps_that_point_out_of_the_run_are_not_followed(served: Served, run: Run) -> None:
    measured = run.path / served.get("runs")[0]["states"][0]["measured"]
    question = {"of": {"kind": "measured", "number": 0}}
    for path in ("volume", "sections"):
        assert served.request(f"/{served.token}/api/runs/0/{path}", question)[0] == 200
    moved = run.path.parent / "elsewhere.mrc"
    measured.rename(moved)
    measured.symlink_to(moved)
    try:
        for path in ("volume", "sections"):
            assert served.request(f"/{served.token}/api/runs/0/{path}", question)[0] == 400
    finally:
        measured.unlink()
        moved.rename(measured)


def test_only_this_machine_is_listened_on(served: Served) -> None:
    found = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{served.port:04X}")
    ]
    assert found == [f"0100007F:{served.port:04X}"]
