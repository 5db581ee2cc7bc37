#!/usr/bin/env bash
# Make the shipped models from the imagery in ../shared/fields and from rendered fields. About two hours on two cores.
# The model for any three bands starts from the default model.
set -euo pipefail
cd "$(dirname "$0")/.."
geoseg tile configs/tiles_default.yaml --out tilesets/fields
python tools/synthetic_tiles.py tilesets/synthetic 72
geoseg train configs/train_default.yaml --out models/default
geoseg models quantize models/default tilesets/fields tilesets/synthetic
python tools/resolution.py models/default_counted models/default --factors 1 # runs on the validation images
fields=../shared/fields runs=models/default_counted outlined=()
for name in 2023-05-25_0750 2023-05-25_0786 2023-05-30_0750; do
    outlined+=("$runs/maize_${name}_1" "$fields/maize/polygons/$name.txt")
done
python tools/plant_candidates.py "$runs/potato_000000_008320_1" $fields/potato/plants.gpkg --plot-m 1.7 --card models/default potato
python tools/plant_candidates.py "${outlined[@]}" --plot-m 0.8 --card models/default maize
cp models/default/{card.json,weights.safetensors,openvino_int8.xml,openvino_int8.bin} geoseg/models/default/
python tools/synthetic_tiles.py tilesets/synthetic_infrared 48 --infrared
geoseg train configs/train_any_three_bands.yaml --out models/any_three_bands
geoseg models quantize models/any_three_bands tilesets/fields tilesets/synthetic tilesets/synthetic_infrared
cp models/any_three_bands/{card.json,weights.safetensors,openvino_int8.xml,openvino_int8.bin} geoseg/models/any_three_bands/
