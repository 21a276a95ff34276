"""The numbers of rows that products are computed with."""

from mu_lightning.models.cpu.products import bucket_size


def test_rows_are_filled_up_to_few_numbers_and_hardly_more() -> None:
    counts = range(1, 4097)
    assert all(0 <= bucket_size(count) - count < max(32, count / 16) for count in counts)
    assert all(bucket_size(bucket_size(count)) == bucket_size(count) for count in counts)
    assert len({bucket_size(count) for count in counts if count > 2048}) == 16
    assert [bucket_size(count) for count in (1, 32, 33, 1025, 2049)] == [32, 32, 64, 1088, 2176]
