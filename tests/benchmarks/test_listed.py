def test_the_page_of_figures_names_every_script(benchmarks_folder):
    page = (benchmarks_folder.parent / "docs" / "pages" / "measured.md").read_text(encoding="utf-8")
    scripts = [path for path in benchmarks_folder.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    assert len(scripts) >= 10
    assert [path.name for path in scripts if path.name not in page] == []
