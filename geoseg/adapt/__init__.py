"""Any field without labels: its vegetation, its crop rows, and what these teach a model.

Reading order: `indices` and `cut` (vegetation in an image), `field` (the ortho, window by window), `vegetation` (one
rule for the whole field), `rowfield` (how far every pixel is from a row), `rowrule` (crop and weed from both),
`fieldrule` (all of it for one field), `segmenter` (the same as a model), `rowlabels` and `pseudo` (a tile set of it),
`balance` (scores without labels), `netgreen` (green by a network), `hints` (a person's few clicks), `tune` (a network
taught by them) and `adaptation`, where all meet. Importing this package imports neither torch nor rasterio.
"""
