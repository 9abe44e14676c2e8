"""Folders of class folders are read, and the eight sets; classes are named well, and faults said."""

from collections import Counter
from pathlib import Path

import huggingface_hub
import pytest
import xxhash
from class_files import SETS, answers, class_folders, fails, names_of, parquet, png
from huggingface_hub import errors

from conclip.errors import UsageError
from dataset_scripts.benchmarks import imagenet
from dataset_scripts.benchmarks.class_prompts import TEMPLATES
from dataset_scripts.benchmarks.classification import CLASS_SETS, CLASSIFICATION, class_folder
from dataset_scripts.benchmarks.schema import Kind, item_features


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    def refused(*args, **kwargs):
        raise errors.OfflineModeIsEnabled("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refused)


class TestClassFolders:
    def test_items_come_by_class_and_name(self, tmp_path):
        files = {"Shih_Tzu": ["b.JPEG", "a.png"], "Egyptian Mau": ["c.webp"], ".cache": ["d.png"]}
        class_folders(tmp_path, files)
        (tmp_path / "Shih_Tzu" / "notes.txt").write_text("no image")
        (tmp_path / "Shih_Tzu" / ".hidden.png").write_bytes(png(1))
        (tmp_path / "Shih_Tzu" / "z.png").mkdir()
        (tmp_path / "readme.png").write_bytes(png(1))
        pets = class_folder("pets", tmp_path)
        rows = list(pets.read(Path("elsewhere")))
        assert [(row["id"], row["answer"]) for row in rows] == [
            ("Egyptian Mau/c.webp", 0),
            ("Shih_Tzu/a.png", 1),
            ("Shih_Tzu/b.JPEG", 1),
        ]
        assert [row["images"] for row in rows] == [[str(tmp_path / row["id"])] for row in rows]
        assert all(row["captions"] == [] and row["boxes"] == [] and row["category"] == "" for row in rows)
        assert all(item_features().encode_example(row) for row in rows)
        assert (pets.kind, pets.name) == (Kind.CLASSES, "pets")
        assert pets.classes(Path("elsewhere")) == {
            "names of the dataset, bare": [["egyptian mau"], ["shih tzu"]],
            "names of the dataset, 1 template": [["a photo of a egyptian mau."], ["a photo of a shih tzu."]],
        }

    @pytest.mark.parametrize(
        ("splits", "read"),
        [
            (["train", "Test", "val"], "Test"),
            (["train", "val"], "val"),
            (["train", "validation"], "validation"),
        ],
    )
    def test_a_split_is_read_alone(self, tmp_path, splits, read):
        class_folders(tmp_path, {f"{split}/cat": [f"{split}.png"] for split in splits})
        assert answers(class_folder("x", tmp_path), tmp_path) == [(f"cat/{read}.png", "cat")]

    def test_a_split_without_class_folders_is_no_class(self, tmp_path):
        class_folders(tmp_path, {"train/cat": ["a.png"], "test": ["b.png"]})
        assert "no class folders in test or val or validation" in fails(class_folder("x", tmp_path), tmp_path)

    def test_train_alone_is_refused(self, tmp_path):
        class_folders(tmp_path, {"train/cat": ["a.png"]})
        assert "holds train, but no class folders in test" in fails(class_folder("x", tmp_path), tmp_path)

    def test_a_class_may_be_called_like_a_split(self, tmp_path):
        class_folders(tmp_path, {"test": ["a.png"], "quiz": ["b.png"]})
        assert answers(class_folder("x", tmp_path), tmp_path) == [("quiz/b.png", "quiz"), ("test/a.png", "test")]

    def test_reading_is_lazy(self, tmp_path):
        class_folders(tmp_path, {"a": ["1.png"], "b": []})
        rows = class_folder("x", tmp_path).read(tmp_path)
        assert next(rows)["id"] == "a/1.png"
        with pytest.raises(UsageError, match=r"b holds no images"):
            next(rows)

    @pytest.mark.parametrize("there", [True, False])
    def test_nothing_to_read(self, tmp_path, there):
        root = tmp_path / "none"
        if there:
            root.mkdir()
        fault = fails(class_folder("x", root), tmp_path)
        assert str(root) in fault and ("holds neither" if there else "is not a folder") in fault
        assert "as class folders with images" in fault

    def test_a_command_line_path_may_be_relative(self, tmp_path, monkeypatch):
        class_folders(tmp_path / "mine", {"a": ["1.png"]})
        monkeypatch.chdir(tmp_path)
        assert answers(class_folder("mine", "mine"), tmp_path / "data") == [("a/1.png", "a")]


class TestTheEightSets:
    def test_they_are_the_papers(self):
        assert [benchmark.title for benchmark in CLASSIFICATION] == [
            "ImageNet-1k",
            "CIFAR-10",
            "CIFAR-100",
            "Stanford Cars",
            "Caltech-101",
            "Food-101",
            "Flowers-102",
            "Oxford Pets",
        ]
        assert all(benchmark.kind is Kind.CLASSES for benchmark in CLASSIFICATION)

    def test_imagenet_has_openais_names_and_80_templates(self, tmp_path):
        """By WordNet ids, also of a part of the classes."""
        ids = ["n03773504", "n04008634", "n02012849", "n01608432"]
        class_folders(tmp_path / "imagenet" / "val", {f"{id}": [f"{id}.png"] for id in ids})
        with pytest.warns(UserWarning, match=r"^ImageNet-1k: 1 name belongs to two or more classes \(missile\)\."):
            prompts = SETS["imagenet"].classes(tmp_path)
        # The published protocol gives the headline, which is the first.
        assert list(prompts) == ["OpenAI's names, 80 templates", "OpenAI's names, bare"]
        assert prompts["OpenAI's names, bare"] == [["kite (bird of prey)"], ["crane bird"], ["missile"], ["missile"]]
        crane = prompts["OpenAI's names, 80 templates"][1]
        assert len(set(crane)) == 80 and crane[0] == "a bad photo of a crane bird."
        assert crane[-1] == "a tattoo of the crane bird." and "itap of my crane bird." in crane
        assert [row["answer"] for row in SETS["imagenet"].read(tmp_path)] == [0, 1, 2, 3]

    def test_openais_lists_are_unchanged(self):
        """The digest is of the lists of open_clip 3.3 and CLIP_benchmark 1.6.2, which are equal."""
        names = imagenet.openai_names()
        text = "\n".join([*names.values(), *imagenet.TEMPLATES])
        assert xxhash.xxh3_64_hexdigest(text.encode()) == "b432d8fa575b35ac"
        assert len(names) == 1000 and list(names) == sorted(names)
        assert [name for name, count in Counter(names.values()).items() if count > 1] == ["missile", "sunglasses"]

    def test_imagenets_labels_on_the_hub_have_the_order_of_the_ids(self, tmp_path):
        # Of the Hub's labels, 816 hold OpenAI's name; here two thirds do.
        names = [*imagenet.openai_names().values()]
        labels = [f"{name}, Latin name {at}" if at % 3 else f"synonym {at}" for at, name in enumerate(names)]
        path = parquet(tmp_path / "imagenet" / "validation.parquet", [744, 0], labels)
        with pytest.warns(UserWarning, match=r"2 names belong to two or more classes \(missile, sunglasses\)"):
            assert names_of(SETS["imagenet"], tmp_path) == names
        assert [row["answer"] for row in SETS["imagenet"].read(tmp_path)] == [744, 0]
        for wrong in (sorted(labels), labels[:999]):
            parquet(path, [0], wrong)
            fault = fails(SETS["imagenet"], tmp_path)
            assert f"{len(wrong):,} classes whose labels are neither WordNet ids nor" in fault
            assert "write the names of the classes into classes.txt" in fault

    def test_an_id_that_is_no_class_of_imagenet(self, tmp_path):
        class_folders(tmp_path / "imagenet", {"n01440764": ["a.png"], "n00004475": ["b.png"]})
        assert "n00004475 is none of the 1,000 classes of ImageNet-1k" in fails(SETS["imagenet"], tmp_path)

    def test_other_names_of_imagenet_come_from_a_file(self, tmp_path):
        parquet(tmp_path / "imagenet" / "validation.parquet", [1], ["0", "1"])
        (tmp_path / "imagenet" / "classes.txt").write_text("tench\nhen\n")
        assert answers(SETS["imagenet"], tmp_path) == [("0", "hen")]
        assert list(SETS["imagenet"].classes(tmp_path))[0] == "names of classes.txt, 80 templates"

    def test_imagenet_leaves_its_unlabelled_test_alone(self, tmp_path):
        for split, label in (("train", 0), ("validation", 1), ("test", -1)):
            path = tmp_path / "imagenet" / "data" / f"{split}-00000-of-00001.parquet"
            parquet(path, [label], ["n01440764", "n01514859"])
        assert answers(SETS["imagenet"], tmp_path) == [("0", "hen")]

    def test_commas_stay_elsewhere(self, tmp_path):
        class_folders(tmp_path / "food101", {"macaroni, cheese": ["a.png"]})
        assert names_of(SETS["food101"], tmp_path) == ["macaroni, cheese"]

    @pytest.mark.parametrize("form", ["folders", "parquet"])
    def test_caltech_has_no_background(self, tmp_path, form):
        root = tmp_path / "caltech101"
        if form == "folders":
            class_folders(root, {"BACKGROUND_Google": ["a.jpg"], "Faces_easy": ["b.jpg"], "accordion": ["c.jpg"]})
            expected = [("Faces_easy/b.jpg", "faces easy"), ("accordion/c.jpg", "accordion")]
        else:
            parquet(root / "train-00000-of-00001.parquet", [2, 1, 0], ["accordion", "background_google", "faces_easy"])
            expected = [("0", "faces easy"), ("2", "accordion")]
        assert answers(SETS["caltech101"], tmp_path) == expected
        (root / "classes.txt").write_text("one\ntwo\n")
        assert sorted(name for _, name in answers(SETS["caltech101"], tmp_path)) == ["one", "two"]

    def test_templates(self):
        # Counted and picked by hand from the prompts CLIP's authors published.
        counts = {"cifar10": 18, "cifar100": 18, "stanford-cars": 8, "caltech101": 34}
        counts |= {"food101": 1, "flowers102": 1, "oxford-pets": 1}
        assert {name: len(templates) for name, templates in TEMPLATES.items()} == counts
        assert {name: len(set(templates)) for name, templates in TEMPLATES.items()} == counts
        assert all(template.count("{}") == 1 for templates in TEMPLATES.values() for template in templates)
        picked = {
            "cifar10": ["a photo of a {}.", "a high contrast photo of the {}.", "a photo of the big {}."],
            "caltech101": ["a plastic {}.", "the {} in a video game.", "a embroidered {}.", "a doodle of the {}."],
            "stanford-cars": ["i love my {}!"],
        }
        assert all(template in TEMPLATES[name] for name, templates in picked.items() for template in templates)

    def test_prompts_of_a_set(self, tmp_path):
        class_folders(tmp_path / "food101", {"test/peking_duck": ["a.jpg"], "test/Pho": ["b.jpg"]})
        assert SETS["food101"].classes(tmp_path) == {
            "names of the dataset, bare": [["pho"], ["peking duck"]],
            "names of the dataset, 1 template": [
                ["a photo of pho, a type of food."],
                ["a photo of peking duck, a type of food."],
            ],
        }


class TestTheHub:
    def test_what_to_do_without_it(self, tmp_path):
        for benchmark, class_set in zip(CLASSIFICATION, CLASS_SETS, strict=True):
            fault = fails(benchmark, tmp_path)
            assert f"{class_set.hub} cannot be downloaded from the Hub (OfflineModeIsEnabled)" in fault
            assert f"or run `hf download {class_set.hub} --repo-type dataset --include" in fault
            assert f"--local-dir <data_dir>/{class_set.name}`" in fault
        assert "accepted its terms" in fails(SETS["imagenet"], tmp_path)

    def test_the_split_alone_is_fetched(self, tmp_path, monkeypatch):
        asked = []

        def fetch(repo_id, repo_type, allow_patterns):
            asked.append((repo_id, repo_type, allow_patterns))
            parquet(tmp_path / "hub" / "data" / "validation-00000-of-00001.parquet", [1], ["cod", "pho"])
            return str(tmp_path / "hub")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
        (tmp_path / "food101").mkdir()
        (tmp_path / "food101" / "classes.txt").write_text("fish\nsoup\n")
        assert answers(SETS["food101"], tmp_path) == [("0", "soup")]
        assert set(map(repr, asked)) == {
            repr(("ethz/food101", "dataset", ["validation-*.parquet", "*/validation-*.parquet"]))
        }

    def test_files_it_no_longer_has(self, tmp_path, monkeypatch):
        monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **kwargs: str(tmp_path))
        assert "holds neither class folders nor Parquet files" in fails(SETS["cifar10"], tmp_path)

    def test_local_files_come_first(self, tmp_path):
        class_folders(tmp_path / "cifar10", {"cat": ["a.png"]})
        assert answers(SETS["cifar10"], tmp_path) == [("cat/a.png", "cat")]
