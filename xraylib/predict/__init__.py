"""Prediction: any film -> a decision, without TensorFlow."""


def predict(*images) -> list[dict[str, str]]:
    """A row per film of the files and folders given: path, decision, score, certain, networks_agree, reason, problem.

    The rows of `python -m xraylib.predict`. UserError where there is no film or the released networks are missing.
    """
    from xraylib.predict import films

    return list(films.predict_films(films.find_films(*images)[0], films.load()))
