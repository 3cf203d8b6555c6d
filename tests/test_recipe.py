"""A recipe of lesson 06 that was cut off is the same run when it is called again."""

from centernet_nb.cocotext import train_cocotext


def test_the_recipe_goes_on(tmp_path, capsys):
    run = dict(size=64, steps=3, batch_size=2, valid_every="1000", progress=False)
    run |= dict(checkpoint=tmp_path / "run.pth")
    first = train_cocotext(**run)
    again = train_cocotext(**run)
    assert "nothing left to do after step 3 of 3" in capsys.readouterr().err
    for (name, a), b in zip(first.state_dict().items(), again.state_dict().values()):
        assert (a == b).all(), name
