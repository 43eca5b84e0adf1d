"""The paper, as code: its experiments on the library's public functions, and what it left open.

A question is one file, with what is run for it and its section of the report:

    basic_model.py               Fig. 1 and 2: the paper's model, by plain SGD
    misclassified.py             Fig. 3: where it goes wrong
    torch_model.py               Fig. 4 and 5: the same network in torch.nn, step by step
    momentum.py                  Fig. 6: the same with momentum
    batch_gradient_descent.py    section V-A: larger batches, at equal epochs and at equal time
    factorial.py                 why PyTorch's curves differ
    epoch_time.py                why PyTorch's epochs take longer
    momentum_tuning.py           whether momentum's accuracy is a matter of tuning
    initializations.py           whether another initialization improves the model

and what the questions share is apart:

    paper.py                     the paper's network, data, recipe and published figures, as values
    trials.py                    independent runs of a recipe, trained as ensembles
    models.py                    the figures and the learning curves of such runs
    cells.py                     the settings between the paper's two models, trained in both frameworks
    torch_nn.py                  the same runs in torch.nn
    variance.py                  shares of variance
    statements.py                figures in words
    document.py                  a report's blocks, and their two forms
    reproduction.py, report.py   all questions in order, and all sections

`run` of a question returns a frozen value of plain numbers, and `section` makes blocks of the report from such values
alone. `functional-mlp reproduce` runs them all. Figures need the extra `plot`.
"""

from functional_mlp import style as style  # its error names the extra where there is no matplotlib
