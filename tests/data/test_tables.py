"""Tables: scaled by the training rows, back in names, types and units, and clear words for what cannot be drawn."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.data import load, require, shape_of
from ddpm_exp.data.codecs import codec_from_json
from ddpm_exp.data.columns import Column
from ddpm_exp.data.examples import Splits
from ddpm_exp.data.table_codec import fit_table
from ddpm_exp.data.table_files import read_table
from ddpm_exp.spec.condition import ContinuousValues
from ddpm_exp.spec.data import Table, class_count
from ddpm_exp.spec.errors import UserError

EMBEDDED = ("wine", "diabetes", "breast-cancer", "iris")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """100 rows of every kind of column, one number and one word missing."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "height": rng.normal(170, 10, 100),
            "visits": rng.poisson(3, 100),
            "smokes": rng.random(100) < 0.3,
            "town": rng.choice(["Bonn", "Köln", "Ulm, Donau"], 100),
            "score": np.where(np.arange(100) == 7, np.nan, rng.integers(0, 50, 100)),
            "group": rng.choice(["a", "b"], 100),
        }
    )
    table.loc[3, "town"] = None
    path = tmp_path / "mixed.csv"
    table.to_csv(path, index=False)
    return path


def _decoded(splits: Splits, x: torch.Tensor) -> pd.DataFrame:
    """Through JSON, as a run keeps it."""
    assert splits.codec is not None
    table = codec_from_json(json.loads(json.dumps(splits.codec.to_json()))).decode(x)
    assert isinstance(table, pd.DataFrame)
    return table


def _refused(data: Table, *names: str) -> UserError:
    """`require` and `load` say the same."""
    condition = ContinuousValues(names=names) if names else None
    with pytest.raises(UserError) as first:
        require(data, condition)
    with pytest.raises(UserError) as second:
        load(data, condition)
    assert str(first.value) == str(second.value)
    return first.value


@pytest.mark.parametrize("source", EMBEDDED)
def test_embedded_tables_come_back_with_names_types_and_numbers(source: str) -> None:
    splits, published = load(Table(source=source)), read_table(source)
    back = pd.concat([_decoded(splits, part.x) for part in (splits.train, splits.held_out)])
    drawn = published[back.columns]
    assert dict(back.dtypes) == dict(drawn.dtypes)
    for name in back.columns:
        if isinstance(drawn[name].dtype, pd.CategoricalDtype):
            assert sorted(back[name].tolist()) == sorted(drawn[name].tolist())
        else:
            spread = drawn[name].std()
            np.testing.assert_allclose(np.sort(back[name]), np.sort(drawn[name]), atol=1e-6 * spread, rtol=0)


@pytest.mark.parametrize(("source", "features"), [("wine", 13), ("diabetes", 12), ("breast-cancer", 30), ("iris", 4)])
def test_the_shape_is_known_before_loading_and_classes_are_the_targets(source: str, features: int) -> None:
    data = Table(source=source)
    splits = load(data)
    assert shape_of(data) == (features,) == tuple(splits.train.x.shape[1:])
    assert len(splits.train.class_names) == (class_count(data) or 0)
    assert (splits.train.labels is None) == (source == "diabetes")
    assert len(splits.train) + len(splits.held_out) == len(read_table(source))
    assert 0.1 < len(splits.held_out) / len(read_table(source)) < 0.3


def test_labels_belong_to_their_rows() -> None:
    splits, published = load(Table(source="iris")), read_table("iris")
    back = _decoded(splits, splits.train.x).round(4)
    assert splits.train.labels is not None
    back["species"] = [splits.train.class_names[label] for label in splits.train.labels]
    known = set(map(tuple, published.astype({"species": str}).round(4).to_numpy().tolist()))
    assert set(map(tuple, back.to_numpy().tolist())) <= known


@pytest.mark.parametrize("subset", [None, 60])
def test_the_scaler_knows_the_training_rows_alone(subset: int | None) -> None:
    splits = load(Table(subset=subset))
    np.testing.assert_allclose(splits.train.x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(splits.train.x.std(0, correction=0), 1, atol=1e-5)
    assert float(splits.held_out.x.mean(0).abs().max()) > 0.01


def test_outliers_among_held_out_rows_move_no_training_number(tmp_path: Path) -> None:
    table = read_table("wine")
    table.to_csv(tmp_path / "a.csv", index=False)
    before = load(Table(source=str(tmp_path / "a.csv"), label="cultivar"))
    from ddpm_exp.data.scaled import held_out_rows

    table.loc[held_out_rows(len(table), 0.2), "alcohol"] = 1e6
    table.to_csv(tmp_path / "b.csv", index=False)
    after = load(Table(source=str(tmp_path / "b.csv"), label="cultivar"))
    assert torch.equal(before.train.x, after.train.x)
    assert not torch.equal(before.held_out.x, after.held_out.x)
    assert before.fingerprint != after.fingerprint


def test_quantile_scaling_makes_skewed_columns_normal_and_stays_in_range() -> None:
    splits = load(Table(source="breast-cancer", scaling="quantile"))
    x = splits.train.x
    assert float((x**3).mean(0).abs().max()) < 0.2, "skewness of the published columns reaches 5"
    np.testing.assert_allclose(x.std(0), 1, atol=0.05)
    trained = _decoded(splits, x)
    drawn = _decoded(splits, torch.randn(500, 30) * 3)
    slack = 1e-6 * trained.std()
    assert (drawn.min() >= trained.min() - slack).all()
    assert (drawn.max() <= trained.max() + slack).all()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=60).filter(lambda row: max(row) - min(row) > 1e-2),
    st.sampled_from(["standard", "quantile"]),
)
def test_any_column_comes_back(numbers: list[float], scaling: str) -> None:
    raw = np.array(numbers)[:, None]
    codec = fit_table((Column("a", "number", "float64"),), scaling, raw)  # type: ignore[arg-type]
    encoded = codec.encode(raw)
    assert np.isfinite(encoded).all()
    back = codec.decode(torch.from_numpy(encoded))["a"].to_numpy()
    np.testing.assert_allclose(back, raw[:, 0], atol=1e-6 * (raw.max() - raw.min()))


def test_words_truth_values_and_integers_come_back_as_such(mixed: Path) -> None:
    data = Table(source=str(mixed), missing="impute", label="group")
    splits = load(data)
    assert shape_of(data) == (1 + 1 + 2 + 3 + 1,)
    assert splits.train.class_names == ("a", "b")
    towns = splits.train.x[:, 4:7]
    assert set(towns.flatten().tolist()) == {-1.0, 1.0}
    assert towns.sum(1).tolist() == [-1.0] * len(towns)
    back = _decoded(splits, splits.train.x)
    assert [back[name].dtype.kind for name in ("height", "visits", "smokes", "score")] == ["f", "i", "b", "i"]
    assert set(back["town"]) == {"Bonn", "Köln", "Ulm, Donau"}


def test_samples_between_categories_take_the_nearer_and_integers_are_whole(mixed: Path, tmp_path: Path) -> None:
    splits = load(Table(source=str(mixed), missing="impute", label="group"))
    assert splits.codec is not None
    drawn = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)) * 2
    (tmp_path / "samples.csv").write_bytes(splits.codec.csv(drawn))
    read = pd.read_csv(tmp_path / "samples.csv")
    assert list(read.columns) == ["height", "visits", "smokes", "town", "score"]
    assert read["town"].tolist() == [("Bonn", "Köln", "Ulm, Donau")[k] for k in drawn[:, 4:7].argmax(1)]
    assert read["visits"].dtype == read["score"].dtype == np.int64
    assert read["smokes"].tolist() == (drawn[:, 3] > drawn[:, 2]).tolist()


def test_missing_values_are_refused_with_columns_and_counts(mixed: Path) -> None:
    error = _refused(Table(source=str(mixed)))
    assert error.field == "data.missing"
    assert "town (1), score (1) of 100 rows" in error.rule
    assert "impute" in str(error.fix)


def test_imputed_numbers_are_the_training_rows_median(mixed: Path) -> None:
    table = pd.read_csv(mixed)
    splits = load(Table(source=str(mixed), missing="impute", columns=("score", "height"), held_out_share=0.3))
    from ddpm_exp.data.scaled import held_out_rows

    train = ~held_out_rows(100, 0.3)
    assert train[7], "row 7, whose score is missing, trains"
    drawn = _decoded(splits, splits.train.x)
    place = (drawn["height"] - table.loc[7, "height"]).abs().argmin()
    assert drawn["score"].iloc[place] == round(table.loc[train, "score"].median())


def test_values_are_taken_out_of_the_drawn_columns_and_standardised() -> None:
    condition = ContinuousValues(names=("progression", "bmi"))
    data = Table(source="diabetes")
    splits = load(data, condition)
    assert shape_of(data, condition) == (10,) == tuple(splits.train.x.shape[1:])
    assert splits.train.values is not None
    np.testing.assert_allclose(splits.train.values.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(splits.train.values.std(0, correction=0), 1, atol=1e-5)
    own = splits.train.values.double().numpy() * splits.facts.value_stds + splits.facts.value_means
    assert set(own[:, 0].round().tolist()) <= set(read_table("diabetes")["progression"].astype(float))
    assert splits.codec is not None
    assert not {"progression", "bmi"} & set(splits.codec.columns)


@pytest.mark.parametrize(
    ("data", "names", "field", "hint"),
    [
        (Table(columns=("alcohl",)), (), "data.columns", "did you mean 'alcohol'"),
        (Table(label="cultiva"), (), "data.label", "did you mean 'cultivar'"),
        (Table(columns=("alcohol", "alcohol")), (), "data.columns", "once"),
        (Table(columns=("alcohol", "cultivar"), label="cultivar"), (), "data.label", "remove it"),
        (Table(), ("hues",), "condition.names", "did you mean 'hue'"),
        (Table(), ("cultivar",), "condition.names", "ClassLabels()"),
        (Table(columns=("hue",)), ("hue",), "data.columns", "no column is left"),
        (Table(source="nowhere.csv"), (), "data.source", "does not exist"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest_right_one(data: Table, names: tuple[str, ...], field: str, hint: str) -> None:
    error = _refused(data, *names)
    assert error.field == field
    assert hint in str(error)


def _csv(folder: Path, text: str, rows: str = "", count: int = 20) -> Table:
    path = folder / "table.csv"
    path.write_text(text + "".join(rows.format(k=k) for k in range(count)))
    return Table(source=str(path))


@pytest.mark.parametrize(
    ("head", "rows", "count", "told"),
    [
        ("a,b\n", "{k},7\n", 20, "('b',)"),
        ("a,a\n", "{k},{k}\n", 20, "several columns called 'a'"),
        (",a\n", "{k},{k}\n", 20, "index=False"),
        ("a,b\n", "{k},{k}\n", 9, "9 rows"),
        ("a,b\n", "{k},\n", 20, "b (20)"),
        ("a,b\n", "{k},inf{k}\n", 300, "300 different values"),
        ("a,b\n1,inf\n2,2\n", "{k},3\n", 20, "1 infinite"),
        ("", "", 0, "cannot be read"),
        ("a;b\n", "{k};2\n", 20, "separated by ';'"),
        ("a,b\n1,2\n1,2,3\n", "{k},2\n", 20, "as many values in every row"),
        ("a,b\n", "{k},2,\n", 20, "the first row has 3 values, and there are 2 column names"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_told_why(tmp_path: Path, head: str, rows: str, count: int, told: str) -> None:
    error = _refused(_csv(tmp_path, head, rows, count))
    assert told in str(error)
    assert error.fix


def test_a_parquet_file_is_the_same_table_and_dates_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wine.parquet"
    table = read_table("wine")
    table.to_parquet(path)
    table.to_csv(tmp_path / "wine.csv", index=False)
    splits = load(Table(source=str(path), label="cultivar"))
    assert splits.fingerprint == load(Table(source=str(tmp_path / "wine.csv"), label="cultivar")).fingerprint
    table["day"] = pd.date_range("2020-01-01", periods=len(table))
    table.to_parquet(path)
    assert "column 'day'" in str(_refused(Table(source=str(path))))
    path.write_bytes(b"damaged")
    assert "cannot be read" in str(_refused(Table(source=str(path))))


def test_the_shape_follows_a_file_that_changes(tmp_path: Path) -> None:
    data = _csv(tmp_path, "a,b\n", "{k},{k}\n")
    assert shape_of(data) == (2,)
    _csv(tmp_path, "a,b,c\n", "{k},{k},{k}\n")
    assert shape_of(data) == (3,)


def test_a_label_that_is_drawn_is_no_label() -> None:
    data = Table(columns=("alcohol", "cultivar"))
    splits = load(data)
    assert splits.train.labels is None
    assert class_count(data) is None
    assert shape_of(data) == (4,)


def test_subsets_take_equal_shares_of_the_labels() -> None:
    splits = load(Table(subset=30))
    assert splits.train.labels is not None
    assert splits.train.labels.bincount().tolist() == [10, 10, 10]


def test_a_sorted_file_is_mixed_so_that_the_first_rows_of_a_set_are_of_every_class(tmp_path: Path) -> None:
    rows = pd.DataFrame({"height": np.arange(300.0) % 17, "kind": ["fern"] * 100 + ["moss"] * 100 + ["palm"] * 100})
    rows.to_csv(tmp_path / "sorted.csv", index=False)
    splits = load(Table(source=str(tmp_path / "sorted.csv"), label="kind", held_out_share=0.3))
    for part in (splits.train, splits.held_out):
        assert part.labels is not None
        assert set(part.labels[:20].tolist()) == {0, 1, 2}
