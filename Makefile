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
	pytest tests/test_docs.py tests/test_readme.py

demo:
	geoseg demo
