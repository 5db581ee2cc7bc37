"""From an orthomosaic to a stitched class raster, block by block, resumable."""
