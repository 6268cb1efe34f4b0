"""Write shape_debt.json: long lines, runs of definitions and neighbouring prose cells per notebook. May only fall."""
import json
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "tests/shape_debt.json"


def main() -> None:
    """Count anew."""
    if not FILE.exists():
        FILE.write_text(json.dumps({"lines": {}, "runs": {}, "prose": {}}))
    sys.path.insert(0, str(ROOT / "tests"))
    shape = runpy.run_path(str(ROOT / "tests/test_shape.py"))
    debt = {"lines": {}, "runs": {}, "prose": {}}
    for name, cells in shape["library_notebooks"]().items():
        long = sum(len(shape["line_faults"](name, "".join(cell["source"]))) for cell in cells)
        run = shape["lesson_counts"](cells)[0]
        debt["lines"][name] = long
        debt["runs"][name] = run if run > shape["LONGEST_RUN"] else 0
        debt["prose"][name] = len(shape["doubled_prose"](cells))
    debt = {kind: {name: count for name, count in counts.items() if count} for kind, counts in debt.items()}
    FILE.write_text(json.dumps(debt, indent=1) + "\n")
    print({kind: sum(counts.values()) for kind, counts in debt.items()})


if __name__ == "__main__":
    main()
