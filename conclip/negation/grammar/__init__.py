"""
Negate captions by rules over a dependency parse.

`parsing` finds what can be negated: the pairs of `objects`, `verbs`, `relations` and `attributes`, with the help of
`tokens` and `noun_phrases`. `forms`, `frames`, `minimal_pairs` and `swap` make sentences, which `text` writes; `cores`
finds what a caption says without one of its things. `generator` does all this for many captions, and rejects bad
sentences.
"""
