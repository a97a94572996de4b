#!/usr/bin/env bash
# Packs what the project needs on a CUDA machine without a network (x86-64, Python 3.12, torch 2.11 for CUDA, no Hydra, no albumentations):
# wheels, a sample of Oxford-IIIT Pet, the campaign. Run it in the project's root; it fills .gpu/ (about 29 MB; git ignores it).
#   OXFORD_PET_ROOT=<folder> bash tools/gpu/pack.sh [NAME==VERSION ...]     the sample in the official layout; more wheels beside the fixed ones
# Then, there, in the project's root: . .gpu/env.sh && bash .gpu/campaign.sh smoke exactness speed
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[[ -f pyproject.toml && -d src && -d conf ]] || { echo "run it in the project's root, not in $PWD"; exit 1; }
sample=${OXFORD_PET_ROOT:-}
[[ -f $sample/annotations/trainval.txt ]] || { echo "OXFORD_PET_ROOT: got '$sample'; it takes a folder with images/ and annotations/trainval.txt"; exit 1; }

# packed from scratch each time: two versions of one wheel would stop the install there, and an unpacked site would double the size
rm -rf .gpu
mkdir -p .gpu/wheels .gpu/data

platforms=()
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1; do platforms+=(--platform "${tag}_x86_64"); done
quiet() { "$@" 2> >(grep -v '^WARNING: Location' >&2); }
quiet python3 -m pip wheel -q --disable-pip-version-check --no-deps -w .gpu/wheels antlr4-python3-runtime==4.9.3
# typing_extensions and filelock are often there in older versions: pydantic 2.14 needs typing_extensions >= 4.16, the project filelock >= 4.2
quiet python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" -d .gpu/wheels \
  hydra-core==1.3.8 omegaconf==2.3.1 albumentations==2.0.8 albucore==0.0.24 pydantic==2.14.3 pydantic_core==2.50.4 \
  annotated-types==0.8.0 typing-inspection==0.4.5 typing_extensions==4.16.0 filelock==4.2.11 stringzilla==5.3.2 simsimd==6.5.16 "$@"
cp -r "$sample" .gpu/data/oxford-iiit-pet-sample
cp "$here"/campaign.sh "$here"/campaign_*.py .gpu/

cat >.gpu/env.sh <<'ENV'
# Source this in the project's root: unpacks the wheels outside the work tree, once, and sets what the project asks for.
SEGSWEEP_SITE=${SEGSWEEP_SITE:-/tmp/segsweep-site}
if [ ! -f "$SEGSWEEP_SITE/.done" ]; then
  python3 -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$SEGSWEEP_SITE" .gpu/wheels/*.whl && touch "$SEGSWEEP_SITE/.done"
fi
export PYTHONPATH=$SEGSWEEP_SITE${PYTHONPATH:+:$PYTHONPATH} NO_ALBUMENTATIONS_UPDATE=1 PYTHONUNBUFFERED=1
export OXFORD_PET_ROOT=$PWD/.gpu/data/oxford-iiit-pet-sample
[ -f "$SEGSWEEP_SITE/.done" ] && python3 - <<'PY'
import importlib.metadata as metadata
found = {}
for name, least in {"torch": "2.6", "numpy": "2.0", "pandas": "2.2", "scipy": "1.14", "matplotlib": "3.9", "tqdm": "4.66", "pillow": "11.0",
                    "opencv-python-headless": "4.9", "pyyaml": "6.0", "jinja2": "3.1", "filelock": "4.2", "typing_extensions": "4.16", "hydra-core": "1.3.8",
                    "omegaconf": "2.3.1", "albumentations": "2.0.8", "pydantic": "2.9", "packaging": "20"}.items():
    try: found[name] = metadata.version(name)
    except metadata.PackageNotFoundError: found[name] = None
    number = lambda text: [int("".join(c for c in part if c.isdigit()) or 0) for part in (text or "0").split("+")[0].split(".")[:3]]
    if number(found[name]) < number(least): print(f"env.sh: {name} is {found[name]}, at least {least} is needed")
print("versions:", " ".join(f"{name}={version}" for name, version in found.items()))
PY
ENV

# everything that a carried wheel needs must be carried or already there
listed=${GPU_PACKAGES:-}  # a text file with "Packages: a, b, c.", what is installed there
python3 - "$listed" <<'PY'
import re, sys, zipfile
from pathlib import Path
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
wheels = {plain(file.name.split("-")[0]): file for file in Path(".gpu/wheels").glob("*.whl")}
there = set()
if sys.argv[1] and Path(sys.argv[1]).exists():
    text = Path(sys.argv[1]).read_text().partition("Packages: ")[2]
    there = {plain(name.strip(" .\n")) for name in text.split(",")}
for name, file in sorted(wheels.items()):
    with zipfile.ZipFile(file) as zipped:
        meta = next(zipped.read(entry).decode() for entry in zipped.namelist() if entry.endswith(".dist-info/METADATA"))
    for need in re.findall(r"^Requires-Dist: (.+)$", meta, re.M):
        if ";" in need: continue  # extras and older Pythons
        other = plain(re.match(r"[A-Za-z0-9._-]+", need).group())
        if there and other not in wheels and other not in there: print(f"pack.sh: {name} needs {need}, which is neither carried nor listed there")
PY
total=$(( $(du -sk .gpu | cut -f1) + $(git ls-files -z --cached --others --exclude-standard 2>/dev/null | xargs -0 du -ck 2>/dev/null | tail -1 | cut -f1) + $( [[ -d shared ]] && du -sk shared | cut -f1 || echo 0) ))
du -sh .gpu
echo "work tree and .gpu: $((total / 1024)) MiB of at most 60"
[[ $total -le $((60 * 1024)) ]] || { echo "too large: keep it under 60 MiB"; exit 1; }
