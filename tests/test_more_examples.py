"""The examples for TorchRL, Tianshou and skrl; `make test-examples` installs these libraries."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")

from test_examples import ENV_IDS, run_example
from torch.distributions import Categorical


def check(name: str, settings: str) -> None:
    steps, mean_returns = run_example(name, f"{settings} --num-envs 20 --total-steps 1920")
    assert steps == [480, 960, 1440, 1920]
    assert all(0 <= mean_return <= 1 for mean_return in mean_returns)


@pytest.mark.parametrize("env_id", ENV_IDS)
# Its own classes warn of their base class when they are imported.
@pytest.mark.filterwarnings("ignore:Creating .* inherits from WeightUpdaterBase is deprecated")
def test_torchrl(env_id: str) -> None:
    pytest.importorskip("torchrl", reason="the extra examples is not installed")
    check("torchrl_ppo.py", f"--env-id {env_id} --eval-envs 20")


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_tianshou(env_id: str) -> None:
    pytest.importorskip("tianshou", reason="the extra examples is not installed")
    check("tianshou_ppo.py", f"--env-id {env_id} --num-steps 24 --eval-episodes 20")


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_skrl(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skrl", reason="the extra examples is not installed")
    # skrl switches a check of torch off for everyone; what follows shall have it.
    monkeypatch.setattr(Categorical, "_validate_args", Categorical._validate_args)
    check("skrl_ppo.py", f"--env-id {env_id} --eval-envs 20")
