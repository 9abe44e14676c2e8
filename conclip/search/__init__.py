"""
`conclip search`: search a folder of images by text and by image.

Once a folder is embedded, a query needs neither torch nor transformers, whose import alone takes seconds: `command`,
`terms`, `index`, `text_encoder` and `page` import neither. `embedding` does, for images that are new and for models
that only transformers can run.
"""
