import json
import os
import shutil
import urllib.error
import urllib.request
from urllib.parse import quote

import pytest
from ui_serving import serving

from aerodet.files import file_digest
from aerodet.storage import open_store


def fetch(address, method="GET", **headers):
    request = urllib.request.Request(address, method=method, headers=headers)
    opener = urllib.request.build_opener(NoRedirect)
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def get(address, path):
    status, _, body = fetch(f"{address}api/{path}")
    return status, json.loads(body)


def test_every_answer_forbids_what_the_page_does_not_need(address, runs):
    for path in (
        "",
        "static/app.js",
        "api/runs",
        f"api/artifacts/{runs[1]['render']}/images/0",
        "nowhere",
        "api/runs/x",
    ):
        _, headers, _ = fetch(address + path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_the_page_has_no_inline_script_or_style_and_loads_only_its_own(address):
    page = fetch(address)[2].decode()
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count('<script type="module" src="/static/app.js">') == 1
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""])
def test_another_hosts_name_is_turned_away(address, host):
    assert fetch(address, host=host)[0] in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8642"])
def test_this_machines_names_are_let_in(address, host):
    assert fetch(address, host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(address, method):
    assert fetch(f"{address}api/runs", method)[0] == 405


def test_another_address_needs_the_token_that_was_printed(runs):
    with serving("--in", str(runs[0]), "--host", "0.0.0.0") as printed:
        base, token = printed.split("?token=")
        base = f"http://127.0.0.1:{base.rstrip('/').rpartition(':')[2]}/"
        assert len(token) >= 32
        for path in ("", "api/runs", "static/app.js", "?token=", f"?token={token[:-1]}", "api/runs?token=wrong"):
            assert fetch(base + path)[0] == 401, path
        assert fetch(f"{base}api/runs", authorization="Bearer wrong")[0] == 401
        assert fetch(f"{base}api/runs", authorization=f"Bearer {token}")[0] == 200
        status, headers, _ = fetch(f"{base}?token={token}")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "httponly" in cookie.lower()
        assert "samesite=strict" in cookie.lower()
        assert fetch(f"{base}api/runs", cookie=cookie.split(";")[0])[0] == 200
        assert fetch(f"{base}api/runs", cookie="aerodet=\x7f")[0] == 401


def test_runs_tell_their_state_and_results(address, runs):
    _, rows = get(address, "runs")
    by_id = {row["id"]: row for row in rows}
    assert by_id["first"]["state"] == "SUCCEEDED"
    assert by_id["first"]["seconds"] == 360
    assert by_id["first"]["results"]["int8"]["ap50"] == 79.25
    assert by_id["first"]["main"] == runs[1]["export"]
    assert by_id["failed"]["state"] == "FAILED"
    assert (by_id["failed"]["done"], by_id["failed"]["stages"]) == (0, 2)
    assert by_id["broken"]["state"] == "UNREADABLE"
    assert "is not the record of a run" in by_id["broken"]["error"]


def test_a_run_has_its_graph_from_artifacts_or_from_the_pipeline(address):
    _, first = get(address, "runs/first")
    assert {(link["from"], link["to"]) for link in first["links"]} == {
        ("render", "train"),
        ("train", "export"),
        ("export", "evaluate"),
        ("export", "benchmark"),
        ("render", "audit"),
    }
    _, failed = get(address, "runs/failed")
    assert [(stage["name"], stage["state"]) for stage in failed["stages"]] == [
        ("render", "FAILED"),
        ("train", "PENDING"),
    ]
    assert failed["links"] == [{"from": "render", "to": "train"}]


def test_a_run_whose_runner_was_killed_is_stopped(address, runs, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(runs[0] / "first", root / "killed")
    record = json.loads((root / "killed" / "run.json").read_text())
    record["state"] = record["stages"][-1]["state"] = "RUNNING"
    (root / "killed" / "run.json").write_text(json.dumps(record))
    with serving("--in", str(root)) as other:
        _, found = get(other, "runs/killed")
    assert found["state"] == "STOPPED"
    assert found["stages"][-1]["state"] == "STOPPED"
    assert found["stages"][0]["outputs"][0]["digest"] == runs[1]["render"]  # found, though the record has another place


def test_an_artifact_tells_how_it_was_made_and_what_is_in_it(address, runs):
    root, made = runs
    _, found = get(address, f"artifacts/{made['export']}")
    assert found["stage"] == "export"
    assert found["run"] == "first"
    assert [entry["digest"] for entry in found["inputs"]] == [made["train"]]
    assert {entry["digest"] for entry in found["uses"]} == {made["evaluate"], made["benchmark"]}
    assert len(found["copies"]) == 2  # the registry has one
    engine = root / "first" / "artifacts" / "export" / "bundle" / "model.engine"
    assert {"path": "model.engine", "sha256": file_digest(engine), "bytes": 4} in found["files"]
    assert fetch(f"{address}api/artifacts/{made['export']}/files/model.engine")[2] == b"plan"


@pytest.mark.parametrize(
    ("stage", "types"),
    [
        ("evaluate", ["tiles", "curve", "table", "texts"]),
        ("train", ["line", "line", "line", "texts"]),
        ("benchmark", ["tiles", "table", "pairs", "texts"]),
        ("audit", ["table", "table", "texts"]),
        ("export", ["pairs", "table", "onnx", "texts"]),
    ],
)
def test_each_kind_of_artifact_has_its_preview(address, runs, stage, types):
    _, sections = get(address, f"artifacts/{runs[1][stage]}/sections")
    assert [section["type"] for section in sections] == types


def test_an_audit_counts_the_regions_to_ignore(address, runs):
    _, sections = get(address, f"artifacts/{runs[1]['audit']}/sections")
    assert sections[0]["rows"] == [["real", 14, 14, 1, 0, 1, 22.6]]


def test_a_graph_is_summed_up(address, runs):
    _, sections = get(address, f"artifacts/{runs[1]['export']}/sections")
    (graph,) = (section for section in sections if section["type"] == "onnx")
    assert graph["ends"] == [["input", "images", "float [N, 3, 8, 8]"], ["output", "boxes", "float [N, 4, 8, 8]"]]
    assert graph["operators"] == [["Conv", 1]]
    assert dict(map(tuple, graph["facts"]))["weights"] == 12


def test_pictures_of_an_evaluation_say_what_was_found_invented_and_missed(address, runs):
    _, page = get(address, f"artifacts/{runs[1]['evaluate']}/pictures")
    assert page["total"] == 14
    assert len(page["items"]) == 12
    worst = page["items"][0]
    assert sorted(box[4] for box in worst["boxes"]) == ["found", "invented"]
    assert sorted(box[4] for box in page["items"][1]["boxes"]) == ["missed"]
    status, headers, image = fetch(f"{address}api/artifacts/{worst['src']}")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert image.startswith(b"\x89PNG")
    _, rest = get(address, f"artifacts/{runs[1]['render']}/pictures?offset=12")
    assert [item["name"] for item in rest["items"]] == ["image_13.png", "image_14.png"]


def test_pictures_show_the_regions_that_are_ignored(address, runs):
    _, page = get(address, f"artifacts/{runs[1]['render']}/pictures?offset=12")
    assert [[box[4] for box in item["boxes"]] for item in page["items"]] == [["truth", "ignored"], ["truth"]]
    assert page["items"][0]["boxes"][1][:4] == [44, 44, 60, 60]
    assert page["legend"] == ["truth", "ignored"]
    _, page = get(address, f"artifacts/{runs[1]['evaluate']}/pictures")
    assert page["legend"] == ["found", "invented", "missed", "ignored"]


def test_lineage_marks_the_start_and_what_is_missing(address, runs):
    made = runs[1]
    _, found = get(address, f"lineage/{made['export']}")
    by_digest = {node["digest"]: node for node in found["nodes"]}
    assert by_digest[made["export"]]["distance"] == 0
    assert by_digest["e" * 64]["missing"]
    assert by_digest["e" * 64]["label"] == "init"
    assert set(by_digest) == {"e" * 64, *(made[s] for s in ("render", "train", "export", "evaluate", "benchmark"))}
    _, up = get(address, f"lineage/{made['export']}?direction=up")
    assert made["evaluate"] not in {node["digest"] for node in up["nodes"]}


def test_what_is_published_is_listed_with_its_standing(address, runs):
    _, (model,) = get(address, "models")
    assert model["name"] == "aircraft"
    assert model["versions"][0]["aliases"] == ["challenger"]
    assert model["versions"][0]["stage"] == "challenger"
    assert model["versions"][0]["digests"] == {"bundle": runs[1]["export"]}
    _, version = get(address, "models/aircraft/1")
    assert version["metrics"] == {"ap50": 79.25, "median_ms": 1.0}


def test_showing_makes_no_registry(tmp_path, runs):
    shutil.copytree(runs[0] / "failed", tmp_path / "runs" / "failed")
    with serving("--in", str(tmp_path / "runs")) as other:
        assert get(other, "models") == (200, [])
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["failed"]


@pytest.mark.parametrize(
    "path",
    [
        "runs/nope",
        "runs/..%2Ffirst",
        "runs/first/logs/nope",
        "runs/first/logs/..%2F..%2Frun.json",
        "artifacts/" + "0" * 64,
        "artifacts/{render}/files/..%2F..%2F..%2Frun.json",
        "artifacts/{render}/files/%2Fetc%2Fpasswd",
        "artifacts/{render}/text/../../../run.json",
        "artifacts/{render}/images/99",
        "artifacts/{render}/pictures?offset=-1",
        "artifacts/{render}/pictures?offset=1e9",
        "lineage/" + "0" * 64,
        "lineage/{render}?direction=sideways",
        "models/aircraft/99",
        "models/a'%20or%201=1/1",
    ],
)
def test_what_is_not_there_or_leads_out_is_a_sentence(address, runs, path):
    status, _, body = fetch(f"{address}api/{path.replace('{render}', runs[1]['render'])}")
    assert status == 404
    assert b"Traceback" not in body
    assert body == b"Not Found" or json.loads(body)["error"]


@pytest.fixture
def hostile(runs, tmp_path):
    """A run in a folder of its own, to be damaged."""
    root = tmp_path / "runs"
    shutil.copytree(runs[0] / "first", root / "first")
    return root


def test_links_out_of_a_folder_are_not_followed(hostile, runs, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    bundle = hostile / "first" / "artifacts" / "export" / "bundle"
    (bundle / "linked.txt").symlink_to(tmp_path / "secret.txt")
    (bundle / "folder").symlink_to(tmp_path)
    (hostile / "first" / "logs" / "train.log").unlink()
    (hostile / "first" / "logs" / "train.log").symlink_to(tmp_path / "secret.txt")
    (hostile / "first" / "report.html").unlink()
    (hostile / "first" / "report.html").symlink_to(tmp_path / "secret.txt")
    dataset = hostile / "first" / "artifacts" / "render" / "dataset"
    shutil.copy(dataset / "images-00000-of-00001.tar", tmp_path / "images.tar")
    (dataset / "images-00000-of-00001.tar").unlink()
    (dataset / "images-00000-of-00001.tar").symlink_to(tmp_path / "images.tar")
    made = runs[1]
    with serving("--in", str(hostile)) as other:
        for path in (
            f"artifacts/{made['export']}/text/linked.txt",
            f"artifacts/{made['export']}/files/folder/secret.txt",
            "runs/first/logs/train",
            "runs/first/report",
            f"artifacts/{made['render']}/images/0",
            f"artifacts/{made['render']}/pictures",
        ):
            status, _, body = fetch(f"{other}api/{path}")
            assert status == 404, path
            assert b"secret" not in body.replace(b"secret.txt", b""), path


def test_files_that_do_not_hold_what_they_promise_are_notes(hostile, runs):
    artifacts, made = hostile / "first" / "artifacts", runs[1]
    (artifacts / "evaluate" / "evaluation" / "evaluation.json").write_text('{"ap50": "' + "x" * 100 + '"}')
    (artifacts / "train" / "model" / "history.json").write_text("[" * 100_000)
    (artifacts / "benchmark" / "benchmark" / "benchmark.json").write_text("[]")
    (artifacts / "audit" / "audit" / "audit.json").write_bytes(b"\xff\xfe")
    (artifacts / "export" / "bundle" / "model.onnx").write_bytes(b"\x08\xff not a graph")
    with serving("--in", str(hostile)) as other:
        for stage in ("evaluate", "train", "benchmark", "audit", "export"):
            status, sections = get(other, f"artifacts/{made[stage]}/sections")
            assert status == 200
            assert "note" in {section["type"] for section in sections}, stage


def test_an_index_that_asks_for_absurd_sizes_is_refused(hostile, runs):
    path = hostile / "first" / "artifacts" / "render" / "dataset" / "annotations.json"
    document = json.loads(path.read_text())
    made = runs[1]
    with serving("--in", str(hostile)) as other:
        for shard in ([0, 0, 1 << 60], [0, -5, 10], [0, 0, -1], ["../../x", 0, 10], [7, 0, 10]):
            document["images"][0]["shard"] = shard
            path.write_text(json.dumps(document))
            status, headers, body = fetch(f"{other}api/artifacts/{made['render']}/images/0")
            assert status == 404, shard
            assert json.loads(body)["error"]
            del headers


def test_figures_that_no_browser_takes_and_settings_without_end_do_no_harm(hostile, runs):
    (hostile / "first" / "results.json").write_text('{"int8": {"ap50": NaN}}')
    bomb = ["a: &a [x, x]"] + [
        f"{n}: &{n} [*{p}, *{p}, *{p}, *{p}]" for p, n in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    (hostile / "first" / "profile.yaml").write_text(
        "\n".join([*bomb, "when: 2026-01-01", "odd: .nan", "self: &s {x: *s}"])
    )
    evaluation = hostile / "first" / "artifacts" / "evaluate" / "evaluation"
    (evaluation / "detections.json").write_text(
        '[{"image_id": 1, "bbox": [NaN, 0, "x"], "score": 1, "category_id": 1}]'
    )
    with serving("--in", str(hostile)) as other:
        _, (row,) = get(other, "runs")
        assert row["results"] is None
        (hostile / "first" / "results.json").write_text('{"int8": {"ap50": 1e999}, "half": "\\ud800"}')
        _, (row,) = get(other, "runs")
        assert row["results"] == {"int8": {"ap50": None}, "half": "\ud800"}
        status, found = get(other, "runs/first")
        assert status == 200
        assert ["when", "2026-01-01"] in found["profile"]
        status, answer = get(other, f"artifacts/{runs[1]['evaluate']}/pictures")
        assert (status, "does not hold what its name promises" in answer["error"]) == (404, True)


def test_a_record_that_names_places_outside_shows_nothing_of_them(hostile, tmp_path):
    record = json.loads((hostile / "first" / "run.json").read_text())
    record["stages"][0]["outputs"] = {"dataset": "/etc/passwd", "other": "first/../../../etc"}
    record["stages"][1]["name"] = "../../secret"
    (hostile / "first" / "run.json").write_text(json.dumps(record))
    with serving("--in", str(hostile)) as other:
        status, found = get(other, "runs/first")
    assert status == 404
    assert "is no name of a stage" in found["error"]


def test_runs_in_a_bucket_are_shown_like_those_in_a_folder(runs, bucket_uri):
    root, made = runs
    store = open_store(bucket_uri)
    for path in (root / "first").rglob("*"):
        if path.is_file():
            store.upload(path, f"first/{path.relative_to(root / 'first').as_posix()}")
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    with serving("--in", bucket_uri, env={name: os.environ[name] for name in names}) as other:
        _, (row,) = get(other, "runs")
        assert (row["id"], row["state"]) == ("first", "SUCCEEDED")
        _, found = get(other, "runs/first")
        assert found["stages"][0]["outputs"][0]["digest"] == made["render"]
        assert found["report"] is True
        _, page = get(other, f"artifacts/{made['evaluate']}/pictures")
        assert page["total"] == 14
        assert fetch(f"{other}api/artifacts/{page['items'][0]['src']}")[2].startswith(b"\x89PNG")
        _, sections = get(other, f"artifacts/{made['export']}/sections")
        assert "onnx" in {section["type"] for section in sections}
        assert fetch(f"{other}api/runs/first/logs/train")[2].startswith(b"epoch 1")
        assert fetch(f"{other}api/artifacts/{made['export']}/files/model.engine")[2] == b"plan"


def test_a_report_is_shown_in_a_sandbox(address):
    status, headers, body = fetch(f"{address}api/runs/first/report")
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "script-src" not in headers["content-security-policy"]
    assert b"<h1>Report</h1>" in body


def test_a_place_that_is_missing_and_a_port_that_is_taken_are_sentences(address, runs, tmp_path):
    import subprocess

    from ui_serving import COMMAND

    port = address.rstrip("/").rpartition(":")[2]
    for arguments, status, said in (
        (("--in", str(tmp_path / "nowhere")), 2, "is not a folder"),
        (("--in", str(runs[0]), "--port", port), 3, "take another --port"),
        (("--in", str(runs[0]), "--host", "no such host"), 2, "is no address"),
    ):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == status, done.stderr
        assert said in done.stderr


def test_a_run_named_in_html_is_found_by_its_name(address):
    name = "<img src=x onerror=alert(1)>"
    status, found = get(address, f"runs/{quote(name)}")
    assert (status, found["id"]) == (200, name)
