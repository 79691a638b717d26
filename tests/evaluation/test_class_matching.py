"""Classes are matched by name or WordNet ID; what can't be matched is named."""

import pytest

from imgcls.errors import DataError
from imgcls.evaluation.class_matching import match_classes
from imgcls.models.imagenet import imagenet_classes


def test_order_does_not_matter_and_missing_ones_are_told() -> None:
    found = match_classes(("dog", "cat"), ("ant", "cat", "cow", "dog"))
    assert found.to_model == (3, 1)
    assert found.missing == ("ant", "cow")


def test_a_name_is_the_same_however_it_is_composed() -> None:
    assert match_classes(("cafe\u0301",), ("tea", "caf\u00e9")).to_model == (1,)


def test_an_unknown_class_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no class 'dogs' \(1 of 2 classes are unknown\); .*'dog'"):
        match_classes(("cat", "dogs"), ("cat", "dog"))
    with pytest.raises(DataError, match="no class '猫'"):
        match_classes(("猫",), ("cat", "dog"))


def test_imagenet_by_wordnet_id_or_name() -> None:
    classes = imagenet_classes()
    found = match_classes(("n07920052", "cup", "n02012849"), classes.names, wordnet_ids=classes.wordnet_ids)
    assert [classes.names[index] for index in found.to_model] == ["espresso", "cup", "crane bird"]
    assert len(found.missing) == 997
    everything = match_classes(classes.wordnet_ids[::-1], classes.names, wordnet_ids=classes.wordnet_ids)
    assert everything.to_model == tuple(range(1000))[::-1]
    assert everything.missing == ()


@pytest.mark.parametrize(("name", "ids"), [("crane", "n02012849 n03126707"), ("maillot", "n03710637 n03710721")])
def test_a_name_of_two_classes_asks_for_the_wordnet_id(name: str, ids: str) -> None:
    classes = imagenet_classes()
    with pytest.raises(DataError, match="stands for 2 classes") as caught:
        match_classes((name,), classes.names, wordnet_ids=classes.wordnet_ids)
    for wordnet_id in ids.split():
        assert wordnet_id in caught.value.hint
    # A model of one's own may well have such a class, once.
    assert match_classes((name,), ("other", name)).to_model == (1,)
    with pytest.raises(DataError, match="stands for 2 classes"):
        match_classes((name,), (name, name))
