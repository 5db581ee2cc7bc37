"""The stages of the main job, one module each: what a stage depends on, what it calls, what it notes."""
