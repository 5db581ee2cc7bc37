"""Pictures and pages for people, made from the files of a run directory."""
