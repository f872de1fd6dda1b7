"""The generator of the bundled miniature: a small GLUE over generated English, and the pretraining of the nano T5.

lexicon, language, edits    the words, how clauses are put into words, how they are changed or spoiled
sentences, pairs, entailment, transfer    the tasks' rows
tasks    the declarations, and `rows(task, split)`
auxiliary, pretrain    the text and the training that made `nano_t5/`
"""
