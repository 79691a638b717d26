"""Puts the recipes of configs/ into the package; everything else stands in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Copies configs/*.toml to imgcls/recipes/shipped; an editable install reads configs/ itself."""

    def run(self) -> None:
        """Build the package, then add the recipes."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "imgcls", "recipes", "shipped")
        self.mkpath(str(target))
        for recipe in sorted(Path("configs").glob("*.toml")):
            self.copy_file(str(recipe), str(target / recipe.name))


setup(cmdclass={"build_py": BuildWithRecipes})
