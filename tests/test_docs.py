"""The documentation: links lead somewhere, all there is has a page, and Sphinx takes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

import ram_envs
from ram_envs.catalog import SUMMARIES
from ram_envs.registration import ENVS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("results/*.md"), *DOCS.rglob("*.md")])
FENCE = re.compile(r"^(```+).*?^\1", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
DOCS_PACKAGES = (
    "sphinx",
    "furo",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxext.opengraph",
)
ADDRESS = re.compile(r'(?:href|src)="([^"#]+)[^"]*"')


def find_links(text: str) -> list[str]:
    """What a page's links and pictures lead to, other sites left out."""
    return [link for link in LINK.findall(FENCE.sub("", text)) if "://" not in link]


def find_anchors(text: str) -> set[str]:
    """The names of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_links_and_anchors_are() -> None:
    page = "# Large `images`, fast\n[a](b.md) ![c](d.png)\n```\n# no\n[e](f)\n```\n[g](https://h)\n"
    assert find_links(page) == ["b.md", "d.png"]
    assert find_anchors(page) == {"large-images-fast"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in find_links(page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert ROOT in (target, *target.parents), f"{link} leads out of the repository"
        if anchor:
            assert anchor in find_anchors(target.read_text(encoding="utf-8")), link


def test_every_environment_has_a_page_and_a_picture() -> None:
    pages = {path.stem for path in (DOCS / "environments").glob("*.md")}
    assert pages - {"index"} == set(ENVS)
    for env_id in ENVS:
        text = (DOCS / "environments" / f"{env_id}.md").read_text(encoding="utf-8")
        assert f"](../images/{env_id}.gif)" in text
        assert (DOCS / "images" / f"{env_id}.gif").stat().st_size < 150_000


@pytest.mark.parametrize("name", ["bench_peers", "step_profile"])
def test_tables_of_speed_name_their_machine_and_commit(name: str) -> None:
    facts = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    page = (DOCS / "speed.md").read_text(encoding="utf-8")
    assert f"{facts['machine']}, at commit {facts['commit']}." in page


def test_the_reference_has_every_public_name() -> None:
    ram_agent = pytest.importorskip("ram_agent", reason="the extra agent is not installed")
    for package in (ram_envs, ram_agent):
        text = (DOCS / "reference" / f"{package.__name__}.md").read_text(encoding="utf-8")
        missing = [name for name in package.__all__ if not re.search(rf"\b{name}\b", text)]
        assert missing in ([], ["__version__"])


def test_the_site(tmp_path: Path) -> None:
    """As `make docs` builds it: without a warning, and with what the code says on its pages."""
    for package in (*DOCS_PACKAGES, "stable_baselines3", "pygame", "torch"):
        pytest.importorskip(package, reason="the extra docs is not installed")
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", str(DOCS), str(site)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    for page, said in {
        "environments/RAMCatch-v0": "Terminated when the last ball has landed",
        "environments/RAMMovingMNIST-v0": "pixels a frame, down and across",
        "environments/RAMSearch-v0": "Terminated when the target is taken",
        "play": "mouse or I, J, K, L",
        "reference/ram_agent": "Play one episode in every sub-environment.",
        "index": "decides where to look next",
        "environments/index": SUMMARIES["RAMMNIST-v0"],
        "environments/RAMClutteredMNIST-v0": "12 × 12, 3 scales",
    }.items():
        assert said in (site / f"{page}.html").read_text(encoding="utf-8"), page
    reference = (site / "reference/ram_agent.html").read_text(encoding="utf-8")
    documented = set(re.findall(r'id="ram_agent\.(?:agent|pictures)\.([\w.]+)"', reference))
    assert documented >= {"RAMAgent.make_env", "RAMAgent.predict", "play_frames", "save_picture"}
    assert not documented & {"RAMAgent.forward", "make_gif", "check_ending"}
    for page in site.rglob("*.html"):  # type: ignore[assignment]
        for address in ADDRESS.findall(page.read_text(encoding="utf-8")):  # type: ignore[attr-defined]
            if not re.match(r"\w+:", address):
                target = page.parent / unquote(address.partition("?")[0])  # type: ignore[attr-defined]
                assert target.exists(), f"{page}: {address}"
