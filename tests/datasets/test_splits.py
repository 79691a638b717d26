"""The validation split is stratified and follows from names and seed alone."""

import pytest

from imgcls.datasets.splits import split_stratified
from imgcls.errors import ConfigError

LABELS = [0] * 10 + [1] * 20 + [2] * 5
NAMES = [f"{label}/{index}.png" for index, label in enumerate(LABELS)]


def test_each_class_gives_its_share() -> None:
    train, val = split_stratified(LABELS, NAMES, val_fraction=0.2, seed=0)
    assert sorted(train + val) == list(range(35))
    assert [sum(LABELS[index] == label for index in val) for label in range(3)] == [2, 4, 1]
    assert train == sorted(train)


def test_the_same_files_split_alike_in_any_order() -> None:
    _, val = split_stratified(LABELS, NAMES, val_fraction=0.2, seed=7)
    _, backwards = split_stratified(LABELS[::-1], NAMES[::-1], val_fraction=0.2, seed=7)
    assert {NAMES[index] for index in val} == {NAMES[::-1][index] for index in backwards}
    # Written down so that no later version, platform or library draws another split.
    assert val == [0, 4, 13, 17, 19, 29, 32]


def test_another_seed_splits_otherwise() -> None:
    splits = {tuple(split_stratified(LABELS, NAMES, val_fraction=0.2, seed=seed)[1]) for seed in range(5)}
    assert len(splits) == 5


def test_adding_a_class_moves_no_image_of_the_others() -> None:
    _, val = split_stratified(LABELS, NAMES, val_fraction=0.2, seed=0)
    _, more = split_stratified([*LABELS, 3, 3], [*NAMES, "3/a", "3/b"], val_fraction=0.2, seed=0)
    assert more[:-1] == val


@pytest.mark.parametrize(("count", "fraction", "expected"), [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (3, 0, 0)])
def test_small_classes_keep_an_image_on_each_side(count: int, fraction: float, expected: int) -> None:
    _, val = split_stratified([0] * count, [str(i) for i in range(count)], val_fraction=fraction, seed=0)
    assert len(val) == expected


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5])
def test_impossible_shares_are_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="val_fraction"):
        split_stratified(LABELS, NAMES, val_fraction=fraction, seed=0)
