import numpy as np
import torch

from fishdvc.dataset.collate import collate_sequences


def test_collating_two_handmade_sequences() -> None:
    long = (np.array([[7, 8, 9], [0, 1, 2]]), np.array([[-100, 9, 5], [-100, 2, 0]]))
    short = (np.array([[6], [0]]), np.array([[4], [-100]]))
    batch = collate_sequences([short, long], padding_id=99)
    torch.testing.assert_close(
        batch.inputs, torch.tensor([[[6, 99, 99], [0, 0, 0]], [[7, 8, 9], [0, 1, 2]]])
    )
    torch.testing.assert_close(
        batch.padding_mask, torch.tensor([[False, True, True], [False, False, False]])
    )
    torch.testing.assert_close(
        batch.labels,
        torch.tensor(
            [[[4, -100, -100], [-100, -100, -100]], [[-100, 9, 5], [-100, 2, 0]]],
        ),
    )
