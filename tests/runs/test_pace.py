import pytest
from run_events import epoch_end, progress, started

from imgcls.recipes.loading import load_recipe
from imgcls.runs.events import FeatureProgress, Measuring, Stage
from imgcls.runs.pace import Pace, stages_of, work_between


class Clock:
    """Time that passes when the test says so."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_nothing_is_promised_before_the_first_step(clock):
    pace = Pace(clock)
    assert pace.left_sec is None
    pace.update(started())
    assert pace.left_sec is None


def test_steps_and_validations_add_up(clock):
    pace = Pace(clock)
    pace.update(started(num_test=200))
    clock.now += 10
    pace.update(progress(1, 5))
    # 2 s a step, 35 steps; validation is guessed at a third of a step's time for each image.
    guess = 2 * 10 / 1000 / 3
    assert pace.left_sec == pytest.approx(70 + 4 * 100 * guess + 200 * guess)
    clock.now += 10
    pace.update(progress(1, 10))
    clock.now += 7
    pace.update(epoch_end(1))
    # 30 steps, 3 validations of 7 s, and a test of twice as many images.
    assert pace.left_sec == pytest.approx(60 + 21 + 14)
    clock.now += 20
    pace.update(progress(2, 10))
    clock.now += 3
    pace.update(Measuring("val", 40, 100))
    # 4 s are left of the validation under way.
    assert pace.left_sec == pytest.approx(40 + 4 + 14 + 14)


def test_a_resumed_run_counts_only_what_it_did_itself(clock):
    pace = Pace(clock)
    pace.update(started(done_epochs=2, done_steps=5, num_val=0))
    clock.now += 4
    pace.update(progress(3, 7))
    assert pace.left_sec == pytest.approx(13 * 2)


def test_small_images_promise_no_early_end(clock):
    pace = Pace(clock)
    # A step on images of half the side is a quarter of the work.
    pace.update(started(stages=(Stage(20, 16), Stage(20, 32)), num_val=0))
    clock.now += 10
    pace.update(progress(1, 10))
    pace.update(epoch_end(1))
    assert pace.left_sec == pytest.approx(10 + 20 * 4)


def test_stages_are_those_that_the_loop_walks_through():
    recipe = load_recipe(
        assignments=("data.image_px=32", "train.resolution=[[0.25, 16], [0.5, 24]]"), flags={"data.source": "x"}
    )
    stages = stages_of(recipe, total_steps=9)
    sides = [next((px for until, px in recipe.train.resolution if step / 9 < until), 32) for step in range(9)]
    assert [stage.image_px for stage in stages for _ in range(stage.num_steps)] == sides
    assert work_between(stages, 2, 7) == pytest.approx(0.25 + 2 * 0.5625 + 2)


def test_no_promise_before_a_frozen_body_moves(clock):
    pace = Pace(clock)
    pace.update(started(frozen_epochs=1, num_val=0))
    clock.now += 50
    pace.update(FeatureProgress(10, 10))
    clock.now += 1
    pace.update(progress(1, 10))
    assert pace.left_sec is None
    pace.update(epoch_end(1))
    assert pace.left_sec is None
    clock.now += 10
    pace.update(progress(2, 5))
    assert pace.left_sec == pytest.approx(25 * 2)
    # Frozen to the end, there is nothing that isn't known.
    pace = Pace(clock)
    pace.update(started(frozen_epochs=4, num_val=0))
    clock.now += 50
    pace.update(FeatureProgress(10, 10))
    clock.now += 1
    pace.update(progress(1, 10))
    assert pace.left_sec == pytest.approx(3)
