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
	python -m pytest tests/test_readme.py tests/test_docs.py

demo:
	geoseg demo
