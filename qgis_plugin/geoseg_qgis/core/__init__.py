"""What the plugin knows without QGIS: where geoseg is, how it is called, what it says. Standard library only."""
