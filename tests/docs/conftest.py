import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The generator of the reference is a folder of scripts, as MkDocs loads it; it is no part of the package.
sys.path.insert(0, str(ROOT / "docs" / "generator"))
