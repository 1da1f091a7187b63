"""Another hospital: figures by view solved by hand, views out of fold, and folders that lack what is needed."""

import numpy as np
import pandas as pd
import pytest

from tools import elsewhere
from tools.elsewhere import GREY, LISTED, NETWORK, READ, VIEW
from xraylib.files import UserError


def hospital(rows, **constants):
    """rows: label, mean logit, view score, grey, reason; a patient each."""
    films = pd.DataFrame(rows, columns=["label", NETWORK, VIEW, GREY, "reason"])
    return films.assign(path=films.index.map("{}.png".format), patient=films.index, **constants)


def test_where_class_goes_with_view_only_the_films_of_one_view_say_what_the_network_knows(config):
    rows = [(0, 1, -2, 10, ""), (0, 2, -1, 10, ""), (1, 1, -3, 10, "blurred"), (1, 3, 1, 10, "blurred")]
    rows += [(1, 4, 2, 10, ""), (0, 3, 3, 10, "")]
    films = hospital(rows, view=["PA", "PA", "PA", "AP", "PA", "AP"])
    table = elsewhere.by_view(films, config).set_index(["films", "score"])
    own = table.xs(NETWORK, level="score")
    assert own.value.to_dict() == pytest.approx(
        {  # pairs in the right order, ties half
            "all": 6 / 9,
            "assessed by make predict": 1,
            "predicted PA": 1 / 4,
            "predicted AP": 3 / 4,
            "view PA": 5 / 8,
            "view AP": 1 / 2,
        }
    )
    assert table.value["all", VIEW] == pytest.approx(4 / 9) and (table.value.xs(GREY, level="score") == 0.5).all()
    assert (VIEW in table.loc["all"].index) and VIEW not in table.loc["view AP"].index
    counts = own[["n_negative", "n_positive", "not_assessed"]]
    assert counts.loc[["all", "predicted PA", "view AP"]].to_numpy().tolist() == [[3, 3, 2], [2, 1, 1], [1, 1, 1]]


def test_the_view_of_a_film_is_predicted_by_what_did_not_see_its_patient():
    """Each patient's noise is the same in both films, and goes with the view by chance alone."""
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.normal(size=(60, 30)), 2, axis=0)
    listed = pd.DataFrame({"patient": np.repeat(range(60), 2), "thumbnail": list(noise)})
    listed["view"] = np.repeat(rng.permutation(["PA", "AP"] * 30), 2)
    read = listed[["thumbnail"]].copy()
    elsewhere.add_views(listed, read)
    right = {
        name: ((films[VIEW] > 0) == (listed["view"] == "AP")).mean() for name, films in (("in", read), ("out", listed))
    }
    assert right["in"] > 0.9 and 0.25 < right["out"] < 0.75


def test_a_folder_without_the_films_or_their_views_is_one_message(tmp_path, monkeypatch, config, capsys):
    (tmp_path / READ).mkdir()
    monkeypatch.setenv("XRAY_IMAGES", str(tmp_path))
    assert elsewhere.main() == 2
    assert f"no folder {LISTED}. Wanted {READ}/ and {LISTED}/" in capsys.readouterr().err
    (tmp_path / LISTED).mkdir()
    monkeypatch.setattr(elsewhere, "load", lambda root, seeds: hospital([(0, 0, 0, 1, ""), (1, 0, 0, 1, "")]))
    (tmp_path / LISTED / "index.csv").write_text("path,patient,view\n0.png,1,PA\n1.png,1,lateral\n")
    with pytest.raises(UserError, match=r"index\.csv: no view of 1 films\. Wanted columns path, patient and view"):
        elsewhere.run(tmp_path, config)
