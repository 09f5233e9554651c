#!/usr/bin/env bash
# Build source package and wheel, and test the wheel in an empty environment.
#
#     tools/release.sh            # the version that the package has
#     tools/release.sh 0.1.0      # stops unless that is the version
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
eval "pytest_flags=(${PYTEST_FLAGS:-})"  # as in the Makefile, with quotes: "-k 'cli or docs'"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$root"

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' ram_envs/__init__.py)
if [[ ${1:-$version} != "$version" ]]; then
    echo "release: the tag is $1, and ram_envs.__version__ is $version. Change one of them." >&2
    exit 1
fi
for file in CITATION.cff CHANGELOG.md; do
    grep -q "$version" "$file" || { echo "release: $file does not name $version." >&2; exit 1; }
done

echo "release: building $version"
rm -rf dist
"$python" -m venv "$scratch/build"
"$scratch/build/bin/python" -m pip install -qq build
"$scratch/build/bin/python" -m build --outdir dist . >/dev/null
ls -1 dist

echo "release: the environments alone"
"$python" -m venv "$scratch/bare"
"$scratch/bare/bin/python" -m pip install -qq dist/*.whl
cd "$scratch"
bare/bin/python -c "
import gymnasium as gym
env = gym.make('ram_envs:RAMMNIST-v0', dataset='digits')
env.reset(seed=0)
env.step(env.action_space.sample())
"
bare/bin/ram list >/dev/null

echo "release: the tests, on the wheel with its extras"
cd "$root"
"$python" -m venv "$scratch/full"
if [[ -n ${TORCH_PACKAGES:-} ]]; then  # a folder that has PyTorch, to spare the download
    echo "$TORCH_PACKAGES" > "$(echo "$scratch"/full/lib/python3*/site-packages)/torch.pth"
fi
wheel=$(echo dist/*.whl)
"$scratch/full/bin/python" -m pip install -qq "${wheel}[dev]"
cp -r tests tools benchmarks examples docs results README.md CHANGELOG.md CONTRIBUTING.md \
    CITATION.cff Makefile pyproject.toml constraints.txt "$scratch"
cd "$scratch"
# Links in the docs, and tests that read the source, find the files that the wheel has installed.
ln -s full/lib/python3*/site-packages/{ram_envs,ram_agent} .
full/bin/python -m pytest -q -m "not slow" "${pytest_flags[@]}"
full/bin/ram watch pretrained:catch --save catch.gif --episodes 1
echo "release: $version is ready in dist/"
