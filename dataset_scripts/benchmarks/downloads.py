"""
What `conclip fetch` downloads for each benchmark.

The checksums of annotation files are those of the files that the readers were checked with. Those of COCO's archives
are the ones that several projects publish. What is not here is on a drive that needs a browser, is sent on request, or
was not published.
"""

from dataset_scripts.benchmarks.fetch_files import Download

_GITHUB = "https://raw.githubusercontent.com"
_COCO = "http://images.cocodataset.org"
_SALESFORCE = "https://storage.googleapis.com/sfr-vision-language-research/datasets"

COCO_VAL2017 = Download(
    f"{_COCO}/zips/val2017.zip", "coco/val2017", "md5:442b8da7639aecaf257c1dceb8ba8c80", 815_585_330, unpack="val2017"
)
COCO_TRAIN2014 = Download(f"{_COCO}/zips/train2014.zip", "coco/train2014", None, 13_510_573_713, unpack="train2014")
COCO_VAL2014 = Download(f"{_COCO}/zips/val2014.zip", "coco/val2014", unpack="val2014")
COCO_ANNOTATIONS2017 = Download(
    f"{_COCO}/annotations/annotations_trainval2017.zip",
    "coco/annotations",
    "md5:f4bbac642086de4f52a3fdda2de5fa2c",
    252_907_541,
    unpack="annotations",
)
VISUAL7W = Download("http://vision.stanford.edu/yukezhu/visual7w_images.zip", "visual7w/images", unpack="images")


def _annotations(repository: str, folder: str, checksums: dict[str, str]) -> tuple[Download, ...]:
    """Return files of a repository's default branch; `checksums` has path -> sha256."""
    return tuple(
        Download(f"{_GITHUB}/{repository}/HEAD/{path}", f"{folder}/{path.rpartition('/')[2]}", f"sha256:{checksum}")
        for path, checksum in checksums.items()
    )


_SUGARCREPE = _annotations(
    "RAIVNLab/sugar-crepe",
    "sugarcrepe",
    {
        "data/add_att.json": "012d88d729693d193760e6f3393b06a1cf874380a9db0062e937201199fe044d",
        "data/add_obj.json": "1b9d76b93139a937b8dc1ada92a4f05ecc821bb3c291d752428bafadd4bb0682",
        "data/replace_att.json": "9fe55fd4c0a9ad1f85d486d9f6d0215b41f867eb025026e7f7b5ce44352545ee",
        "data/replace_obj.json": "9d299600639947e9d15281a9ded1382b376cf4ea088a8d08a1314bfe76e81898",
        "data/replace_rel.json": "356bcc2fc4c6aed3f4d9fd50acc58489bb1fe70c28791f9368d4cbf9ea39cdc9",
        "data/swap_att.json": "7a7ce04e5c4c80412b48c6f0c1347fb1a2f5d54c0be6aa429b64d390e442f8d0",
        "data/swap_obj.json": "073cdb8e253d053614e80710834d9773b09dbc1dd0a412f6f9492262caa1dcad",
    },
)
_SUGARCREPE_PP = _annotations(
    "Sri-Harsha/scpp",
    "sugarcrepe_pp",
    {
        "data/replace_att.json": "6826413592894754eeca02aeebbcbbc8b95a7456998abcc714e71c033ce6fe87",
        "data/replace_obj.json": "5c6dc499ec8f511a8aa4ec1b7b5eb0eca90317488abe36ec39573355e2d361ab",
        "data/replace_rel.json": "040fb95d3f0619bf515db60879e99709a87a5e9b4f524ec3403b127243480fd4",
        "data/swap_att.json": "450d0fd9fcad3e6f44950dc634e7f901ab1c6d9c60a569ade5ae8ffb3d203ad8",
        "data/swap_obj.json": "5f33cae824de431a7ecd3c5de6301f689815f9497aa36d96b154bbaf117b201b",
    },
)
_VALSE = _annotations(
    "Heidelberg-NLP/VALSE",
    "valse",
    {"data/existence.json": "b20fca52eba86c544083d423345a2e28e60e601ef61c56c9ac1c73a95a3a6d18"},
)
_NEGREFCOCOG = _annotations(
    "parkquasar/NegationCLIP",
    "negrefcocog",
    {"NegRefCOCOg/NegRefCOCOg.json": "e3519e02c26aa3d507e7cb32f4e202375bc8860b5cb7cb4c34ad436cf063031f"},
)
_COCO_TEST = (Download(f"{_SALESFORCE}/coco_karpathy_test.json", "coco/coco_karpathy_test.json"),)
_FLICKR30K_TEST = (Download(f"{_SALESFORCE}/flickr30k_test.json", "flickr30k/flickr30k_test.json"),)
# Name of a benchmark -> its annotations, its images.
DOWNLOADS: dict[str, tuple[tuple[Download, ...], tuple[Download, ...]]] = {
    "sugarcrepe": (_SUGARCREPE, (COCO_VAL2017,)),
    "sugarcrepe-pp": (_SUGARCREPE_PP, (COCO_VAL2017,)),
    "valse-existence": (_VALSE, (VISUAL7W,)),
    "valse-existence-unfiltered": (_VALSE, (VISUAL7W,)),
    "negrefcocog": (_NEGREFCOCOG, (COCO_TRAIN2014,)),
    "negbench-mcq-coco": ((), (COCO_VAL2017,)),
    "negbench-retrieval-coco": ((), (COCO_VAL2017,)),
    **dict.fromkeys(
        ("coco-retrieval", "coco-order", "coco-order-strict", "coco-shuffled-retrieval"), (_COCO_TEST, (COCO_VAL2014,))
    ),
    **dict.fromkeys(
        ("flickr30k-retrieval", "flickr30k-order", "flickr30k-order-strict", "flickr30k-shuffled-retrieval"),
        (_FLICKR30K_TEST, ()),
    ),
    "coco-val2017-retrieval": ((COCO_ANNOTATIONS2017,), (COCO_VAL2017,)),
}
