"""The paper, as code: its experiments on the library's public functions, and what it left open.

    paper.py                     its network, data, recipe and published figures, as values
    trials.py                    independent runs, trained as ensembles, and their mean ± standard deviation
    basic_model.py               Fig. 1, 2, 3 and 6
    torch_model.py               Fig. 4 and 5: the same network in torch.nn, step by step
    batch_gradient_descent.py    section V-A: larger batches, at equal epochs and at equal time
    factorial.py                 why PyTorch's curves differ
    epoch_time.py                why PyTorch's epochs take longer
    momentum_tuning.py           whether momentum's accuracy is a matter of tuning
    initializations.py           whether another initialization improves the model
    reproduction.py              all of them, in order
    report/                      the results as figures, text and numbers

An experiment is a function that returns a frozen value of plain numbers; `functional-mlp reproduce` runs them all.
"""
