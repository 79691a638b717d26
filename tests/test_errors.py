"""Every error of ours survives the way out of a worker process."""

import importlib
import pickle
import pkgutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import imgcls
from imgcls.errors import ExitCode, ImageError, ImgclsError

# Arguments of those that take other ones than a message and a hint.
ARGUMENTS = {
    "ImageError": (("corrupt_image", "torn"), {}),
    "DivergedError": (("the loss became NaN",), {"hint": "lower the rate", "step": 7}),
    "DownloadError": (("http://user:secret@host/a", "no route"), {"hint": "check it"}),
}


def all_kinds() -> list[type[ImgclsError]]:
    for module in pkgutil.walk_packages(imgcls.__path__, "imgcls."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, todo = [], [ImgclsError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    # Those of imgcls: a test may have its own.
    return [kind for kind in found if kind.__module__.startswith("imgcls.")]


def made(kind: type[ImgclsError]) -> ImgclsError:
    args, options = ARGUMENTS.get(kind.__name__, (("what happened",), {"hint": "what to do"}))
    return kind(*args, **options)


def test_each_kind_comes_back_from_a_pickle() -> None:
    kinds = all_kinds()
    assert len(kinds) > 10
    for kind in kinds:
        try:
            error = made(kind)
        except TypeError:
            pytest.fail(f"{kind.__name__} takes other arguments: add them to ARGUMENTS")
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is kind
        assert vars(back) == vars(error)
        assert (str(back), back.args, back.exit_code) == (str(error), error.args, error.exit_code)


def fail() -> None:
    raise ImageError("too_large", "as a city")


def test_it_leaves_a_spawned_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(ImageError) as caught:
        pool.submit(fail).result()
    assert (caught.value.kind, caught.value.message) == ("too_large", "as a city")
    assert caught.value.exit_code == ExitCode.SOME_FAILED
