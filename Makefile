# Two commands matter: `make book` and `make test`. Both set up .venv by themselves and redo only what has changed.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := book,test
# A process of one thread on each core, at most four. A file's tests stay together, and the longest files come first.
WORKERS := -n auto --maxprocesses 4
BY_FILE := $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help book test check lowest lab bench weights assignments gradescope student strip figures links lint clean

help:
	@echo "make book    set up .venv, run the chapters, build the book into _build/html"
	@echo "make test    set up .venv, run all tests: the library's, the chapters', the built book's"
	@echo "make check   within a minute: style, the import contract, doctests, the fast tests of the library"
	@echo "make lowest  test the library with the oldest versions that pyproject.toml allows, in .venv-lowest"
	@echo "make lab     open the chapters in JupyterLab"
	@echo "make bench   measure colorlib against other libraries, write benchmarks/results.md"
	@echo "make weights PHOTOS=FOLDER   train the weights in colorlib/weights again: hours, and some minutes of a GPU"
	@echo "make strip   color the pictures of the README and the front page with the weights in colorlib/weights"
	@echo "make assignments   write the assignments' versions for students, with solutions, and for grading"
	@echo "make gradescope    make of each assignment a zip for Gradescope, with otter-grader"
	@echo "make student   write chapters and assignments without solutions, to hand out"
	@echo "make figures   build the book and write its figures as numbered files with captions"
	@echo "make links   write the repository's home from pyproject.toml into badges and install lines"
	@echo "make lint    check style and the library's import contract"
	@echo "make clean   remove what make book and make lowest built (not .venv)"

# The stamp is newer than pyproject.toml exactly when everything that it names is installed.
.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and "Python 3.10 or newer is needed, but $(PYTHON) is %d.%d: try make PYTHON=python3.12 ..." % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "No virtual environment could be made: on Debian and Ubuntu, install the package python3-venv."; rm -rf .venv; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade --editable ".[$(EXTRAS)]"
	@touch $@

.venv/.installed-%: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	@touch $@

book: .venv/.installed
	$(BIN)/python book/build.py

# The book is built from the outputs that the tests of the chapters leave, so that its own tests come after them.
test: .venv/.installed
	@status=0; set -x; \
	$(BIN)/python -m pytest $(BY_FILE) --ignore tests/test_book.py || status=1; \
	$(BIN)/python -m pytest $(WORKERS) --dist load tests/test_book.py || status=1; \
	exit $$status

check: .venv/.installed lint
	$(BIN)/python -m pytest $(BY_FILE) -m "not slow" tests colorlib

lowest:
	$(PYTHON) -m venv .venv-lowest
	sed -n '/^dependencies/,/^]/s/^ *"\(.*\)>=\(.*\)",/\1==\2/p' pyproject.toml > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --editable ".[test]" --constraint .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pytest tests --ignore tests/test_book.py --ignore tests/test_project.py --ignore tests/test_try_it.py

lab: .venv/.installed-lab
	$(BIN)/jupyter lab chapters

bench: .venv/.installed-bench
	$(BIN)/python -m benchmarks.run

# Each training goes on where it was stopped. The photographs: folders or zip files, any number of them. The
# recipe "world" of PixColor is for a GPU, on which it takes a quarter of an hour; without one it takes days. The two
# files of PixColor that are shipped have another history, which their cards tell: this replaces them by others.
weights: .venv/.installed
	$(BIN)/colorlib train regression --recipe world --data world --out runs/regression-world-64 --weights runs/regression-world-64.safetensors
	$(BIN)/colorlib train regression --recipe world-large --data world --init-from runs/regression-world-64.safetensors --out runs/regression-world --weights colorlib/weights/regression-world.safetensors
	$(BIN)/colorlib train cic --recipe world --data world --out runs/cic-world --weights colorlib/weights/cic-world.safetensors
	for model in a b c; do $(BIN)/colorlib train deep --recipe world-$$model --data world --out runs/deep-world-$$model --weights colorlib/weights/deep-world-$$model.safetensors || exit 1; done
	$(BIN)/colorlib train pixcolor --recipe world-plain --data world --out runs/pixcolor-world-plain --weights colorlib/weights/pixcolor-world-plain.safetensors
	$(BIN)/colorlib train pixcolor --recipe world --data world --out runs/pixcolor-world --weights colorlib/weights/pixcolor-world.safetensors
	for recipe in world world-l1-0 world-l1-1 world-l1-100 world-l1-only world-seed-1 world-seed-2 world-dropout; do $(BIN)/colorlib train gan --recipe $$recipe --data world --out runs/gan-$$recipe --weights colorlib/weights/gan-$$recipe.safetensors || exit 1; done
	$(BIN)/colorlib train masked --recipe flowers-half --data flowers --out runs/masked-flowers-half --weights colorlib/weights/masked-flowers-half.safetensors
	$(BIN)/colorlib train masked --recipe flowers-ten --data flowers --out runs/masked-flowers-ten --weights colorlib/weights/masked-flowers-ten.safetensors
	$(BIN)/colorlib train masked --recipe flowers-half-colored --data flowers --out runs/masked-flowers-half-colored --weights colorlib/weights/masked-flowers-half-colored.safetensors
	$(BIN)/colorlib train masked --recipe flowers-ten-colored --data flowers --out runs/masked-flowers-ten-colored --weights colorlib/weights/masked-flowers-ten-colored.safetensors
	$(BIN)/colorlib train masked --recipe flowers-mixed --data flowers --out runs/masked-flowers-mixed --weights colorlib/weights/masked-flowers-mixed.safetensors
	@test -n "$(PHOTOS)" || { echo 'For the weights for photographs, name some: make weights PHOTOS="a_folder b.zip"'; exit 1; }
	$(BIN)/colorlib train regression --recipe photographs $(PHOTOS:%=--data %) --out runs/regression-photographs --weights colorlib/weights/regression-photographs.safetensors
	$(BIN)/colorlib train cic --recipe photographs $(PHOTOS:%=--data %) --out runs/cic-photographs --weights colorlib/weights/cic-photographs.safetensors
	$(BIN)/python -m pip install --quiet --editable ".[photo]"
	$(BIN)/colorlib train photo --recipe photographs-small $(PHOTOS:%=--data %) --hold-out --out runs/photographs-small --weights runs/photographs-small.safetensors
	$(BIN)/colorlib train photo --recipe photographs --init-from runs/photographs-small.safetensors $(PHOTOS:%=--data %) --hold-out --out runs/photographs --weights runs/photographs.safetensors
	$(BIN)/colorlib train photo --recipe photographs --init-from runs/photographs.safetensors $(PHOTOS:%=--data %) --hold-out --out runs/photographs-2 --weights colorlib/weights/photographs.safetensors
	$(BIN)/python book/strip.py

strip: .venv/.installed
	$(BIN)/python book/strip.py

# To _build/assignments: student, solution and grading.
assignments: .venv/.installed
	$(BIN)/python -m colorlib.grading.source

gradescope: .venv/.installed-otter
	for source in chapters/assignments/*.ipynb; do $(BIN)/otter assign --no-run-tests $$source _build/gradescope/$$(basename $$source .ipynb) || exit 1; done

student: .venv/.installed
	$(BIN)/python book/packs.py student
	$(BIN)/python -m colorlib.grading.source --version student

figures: book
	$(BIN)/python book/packs.py figures

links: .venv/.installed
	$(BIN)/python book/links.py

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

clean:
	rm -rf _build .venv-lowest
