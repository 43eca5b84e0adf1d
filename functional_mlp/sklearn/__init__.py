"""scikit-learn's multi-layer perceptrons, trained by this library: change the import, and nothing else.

    from functional_mlp.sklearn import MLPClassifier, MLPRegressor

    classifier.py, regressor.py   the two classes, each with what its targets mean
    estimator.py                  what they share: fit, partial_fit, and the attributes after it
    parameters.py                 their arguments, checked
    recipe.py                     what the arguments ask for, in values of this library
    samples.py, holdout.py        rows as a data set, and those that early stopping holds out
    weights.py                    parameters as scikit-learn lays them out
    progress.py                   the curves of training, and the lines of `verbose`

Training is `fit`, `fit_ensemble` and `train_epoch`; nothing here goes over data by itself. This package needs the extra
`sklearn`: from a checkout, `pip install '.[sklearn]'`.
"""

from functional_mlp.extras import installing

try:
    import sklearn as sklearn
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"functional_mlp.sklearn needs scikit-learn: {installing('sklearn')}",
        name=error.name,
    ) from error

from functional_mlp.sklearn.classifier import MLPClassifier
from functional_mlp.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
