"""Work of members: on which threads it is done, in what order, and what becomes of an error."""

import threading
from collections.abc import Iterator

import pytest
import torch

from mu_lightning.models.cpu.member_threads import run_parallel, spread


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("two_threads")
def test_work_is_done_on_threads_of_one_thread_each_and_in_order() -> None:
    meeting = threading.Barrier(2, timeout=20)

    def one() -> tuple[str, int, bool]:
        meeting.wait()  # only passed if both are under way at once
        return threading.current_thread().name, torch.get_num_threads(), torch.is_grad_enabled()

    found = run_parallel([one, one])
    assert len({name for name, *_ in found}) == 2
    assert {tuple(rest) for _, *rest in found} == {(1, False)}
    assert torch.get_num_threads() == 2
    assert run_parallel([lambda number=number: number for number in range(9)]) == list(range(9))


@pytest.mark.usefixtures("two_threads")
def test_an_error_of_one_piece_of_work_is_raised() -> None:
    def broken() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        run_parallel([broken, lambda: 1])


@pytest.mark.usefixtures("two_threads")
def test_work_on_tensors_is_spread_where_it_occupies_all_threads() -> None:
    def where() -> tuple[str, bool]:
        return threading.current_thread().name, torch.is_grad_enabled()

    here = threading.current_thread().name
    assert here not in {name for name, _ in spread([where, where])}
    assert spread([where]) == [(here, False)], "one member's operations get all threads"
