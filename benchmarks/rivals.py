"""Fits scikit-learn's gradient boosting and its linear models on the rows that rayloop had; it measures nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from samples import Sample, values_of
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NAMES = ("gradient boosting", "linear")
MAX_ITERATIONS = 300


def answers(rival: str, sample: Sample, classes: tuple[Any, ...]) -> dict[str, np.ndarray[Any, Any]]:
    """What a rival answers to the test rows, after a fit on those of training and validation together.

    Gradient boosting has its defaults, and parts rows of its own off to know when to stop.
    """
    known = pa.concat_tables([sample.train, sample.validation])
    model = _boosting(classes) if rival == NAMES[0] else _linear(classes)
    model.fit(_frame(known, sample), known.column(sample.target).to_pandas())
    given = _frame(sample.test, sample)
    if not classes:
        return {"prediction": model.predict(given)}
    order = [list(model.classes_).index(name) for name in classes]
    return {"probabilities": model.predict_proba(given)[:, order]}


def _boosting(classes: tuple[Any, ...]) -> Any:
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(random_state=0, early_stopping=True, categorical_features="from_dtype")


def _linear(classes: tuple[Any, ...]) -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include=np.number)),
            ("texts", texts, make_column_selector(dtype_include="category")),
        ]
    )
    return make_pipeline(columns, LogisticRegression(max_iter=MAX_ITERATIONS) if classes else Ridge())


def _frame(table: pa.Table, sample: Sample) -> pd.DataFrame:
    names = [name for name in table.column_names if name != sample.target]
    parts: dict[str, Any] = {}
    for name, values in values_of(table, names).items():
        if values.ndim == 2:
            parts |= {f"{name}{place}": values[:, place] for place in range(values.shape[1])}
        elif values.dtype.kind == "O":
            known = sorted(text for text in set(sample.train.column(name).to_pylist()) if text is not None)
            parts[name] = pd.Categorical(values, categories=known)
        else:
            parts[name] = values
    return pd.DataFrame(parts)
