# The commands that continuous integration runs (.ci/run) and a developer types. Needs `pip install -e '.[dev]'`.
.PHONY: all check test docs demo

all: check test

check:
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache

test:
	pytest

docs:
	python docs/generate.py
	sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build/html

demo:
	geoseg demo
