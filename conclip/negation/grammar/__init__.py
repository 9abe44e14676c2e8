"""
Negate captions by rules over a dependency parse.

`parsing` finds what can be negated: the pairs of `objects`, `verbs`, `relations` and `attributes`, with the help of
`tokens` and `noun_phrases`. `forms`, `frames`, `minimal_pairs` and `swap` make sentences, which `text` writes.
`generator` does all this for many captions, and filters what was made.
"""
