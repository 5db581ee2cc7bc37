#!/usr/bin/env bash
# Make the default model from the imagery in ../shared/fields and from rendered fields. About an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
geoseg tile configs/tiles_default.yaml --out tilesets/fields
python tools/synthetic_tiles.py tilesets/synthetic 72
geoseg train configs/train_default.yaml --out models/default
cp models/default/card.json models/default/weights.safetensors geoseg/models/default/
