"""The example for RLlib; `make test-rllib` installs the library, in an environment of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra rllib is not installed")

from test_examples import ENV_IDS
from test_more_examples import check


@pytest.mark.parametrize("env_id", ENV_IDS)
# RLlib registers the environments for training and evaluation under one id of its own.
@pytest.mark.filterwarnings("ignore:.*Overriding environment rllib-single-agent-env-v0")
def test_rllib(env_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # RLlib makes a folder for every run, in the home directory if nobody stops it.
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path))
    check("rllib_ppo.py", f"--env-id {env_id} --eval-episodes 20")
