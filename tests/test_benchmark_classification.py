"""Classification sets are read in the formats they come in, their classes named well, and faults said."""

import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from huggingface_hub import errors
from PIL import Image as PILImage

from dataset_scripts import classification
from dataset_scripts.benchmark_schema import ITEM, BenchmarkError, Kind
from dataset_scripts.class_prompts import TEMPLATES, clean_name, is_code
from dataset_scripts.classification import CLASS_SETS, CLASSIFICATION, class_folder

SETS = {benchmark.name: benchmark for benchmark in CLASSIFICATION}


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (4, 3), (shade, shade, shade)).save(buffer, format="PNG")
    return buffer.getvalue()


def class_folders(root: Path, files: dict[str, list[str]]) -> Path:
    for folder, names in files.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).write_bytes(picture(7))
    return root


def parquet(path: Path, labels: list[int], names: list[str] | None, image="image", label="label", first=0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    feature = Value("int64") if names is None else ClassLabel(names=names)
    rows = {image: [{"bytes": picture(first + row), "path": None} for row in range(len(labels))], label: labels}
    extra = {"coarse_label": ClassLabel(names=["x", "y"])} if label == "fine_label" else {}
    rows |= {name: [1] * len(labels) for name in extra}
    Dataset.from_dict(rows, Features({image: Image(), label: feature} | extra)).to_parquet(path)
    return path


def names_of(benchmark, data_dir: Path) -> list[str]:
    return [prompt for [prompt] in benchmark.classes(data_dir)["bare names"]]


def answers(benchmark, data_dir: Path) -> list[tuple[str, str]]:
    """(id, name of the class) of each item."""
    names = names_of(benchmark, data_dir)
    return [(row["id"], names[row["answer"]]) for row in benchmark.read(data_dir)]


def fails(benchmark, data_dir: Path) -> str:
    with pytest.raises(BenchmarkError) as caught:
        list(benchmark.read(data_dir))
    return str(caught.value)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    def refused(*args, **kwargs):
        raise errors.OfflineModeIsEnabled("no network")

    monkeypatch.setattr(classification, "snapshot_download", refused)


class TestClassFolders:
    def test_items_come_by_class_and_name(self, tmp_path):
        files = {"Shih_Tzu": ["b.JPEG", "a.png"], "Egyptian Mau": ["c.webp"], ".cache": ["d.png"]}
        class_folders(tmp_path, files)
        (tmp_path / "Shih_Tzu" / "notes.txt").write_text("no image")
        (tmp_path / "Shih_Tzu" / ".hidden.png").write_bytes(picture(1))
        (tmp_path / "Shih_Tzu" / "z.png").mkdir()
        (tmp_path / "readme.png").write_bytes(picture(1))
        pets = class_folder("pets", tmp_path)
        rows = list(pets.read(Path("elsewhere")))
        assert [(row["id"], row["answer"]) for row in rows] == [
            ("Egyptian Mau/c.webp", 0),
            ("Shih_Tzu/a.png", 1),
            ("Shih_Tzu/b.JPEG", 1),
        ]
        assert [row["images"] for row in rows] == [[str(tmp_path / row["id"])] for row in rows]
        assert all(row["captions"] == [] and row["boxes"] == [] and row["category"] == "" for row in rows)
        assert all(ITEM.encode_example(row) for row in rows)
        assert (pets.kind, pets.name) == (Kind.CLASSES, "pets")
        assert pets.classes(Path("elsewhere")) == {
            "bare names": [["egyptian mau"], ["shih tzu"]],
            "templates": [["a photo of a egyptian mau."], ["a photo of a shih tzu."]],
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
        with pytest.raises(BenchmarkError, match=r"b holds no images"):
            next(rows)

    @pytest.mark.parametrize("there", [True, False])
    def test_nothing_to_read(self, tmp_path, there):
        root = tmp_path / "none"
        if there:
            root.mkdir()
        fault = fails(class_folder("x", root), tmp_path)
        assert str(root) in fault and ("holds neither" if there else "is no folder") in fault
        assert "as class folders with images" in fault

    def test_a_command_line_path_may_be_relative(self, tmp_path, monkeypatch):
        class_folders(tmp_path / "mine", {"a": ["1.png"]})
        monkeypatch.chdir(tmp_path)
        assert answers(class_folder("mine", "mine"), tmp_path / "data") == [("a/1.png", "a")]


class TestNames:
    @pytest.mark.parametrize(
        ("label", "name"),
        [
            ("aquarium_fish", "aquarium fish"),
            ("AM General Hummer SUV 2000", "am general hummer suv 2000"),
            ("n01440764 Tench", "tench"),
            ("n02085620-Chihuahua", "chihuahua"),
            ("n02086240_Shih-Tzu", "shih-tzu"),
            ("  windsor__chair ", "windsor chair"),
            ("colt's foot", "colt's foot"),
            ("n01440764", "n01440764"),
            ("707-320", "707-320"),
        ],
    )
    def test_cleaning(self, label, name):
        assert clean_name(label) == name

    @pytest.mark.parametrize(
        ("name", "code"), [("21", True), ("n01440764", True), ("3 4", True), ("audi 100", False), ("n95 mask", False)]
    )
    def test_codes(self, name, code):
        assert is_code(name) is code

    def test_a_number_makes_no_prompt(self, tmp_path):
        class_folders(tmp_path, {"2": ["b.png"], "10": ["c.png"], "1": ["a.png"]})
        folder = class_folder("flowers", tmp_path)
        fault = fails(folder, tmp_path)
        assert f"{tmp_path} calls a class '1'" in fault and f"write 3 names into {tmp_path / 'classes.txt'}" in fault
        assert "in the order of the labels (1, 2, 10, …)" in fault
        with pytest.raises(BenchmarkError, match="makes no prompt"):
            folder.classes(tmp_path)

    def test_listed_names_go_by_number(self, tmp_path):
        class_folders(tmp_path, {"2": ["b.png"], "10": ["c.png"], "1": ["a.png"]})
        (tmp_path / "classes.txt").write_text("Pink primrose\nsweet  pea\n7\n\n", encoding="utf-8")
        expected = [("1/a.png", "pink primrose"), ("2/b.png", "sweet pea"), ("10/c.png", "7")]
        assert answers(class_folder("flowers", tmp_path), tmp_path) == expected

    def test_listed_names_win_and_serve_a_split(self, tmp_path):
        class_folders(tmp_path, {"val/n02119789": ["a.png"], "val/n02100735": ["b.png"], "train/n02100735": []})
        (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfEnglish setter\r\nkit fox\r\n")
        expected = [("n02100735/b.png", "english setter"), ("n02119789/a.png", "kit fox")]
        assert answers(class_folder("x", tmp_path), tmp_path) == expected

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("one\n", "has 1 lines for 2 classes"),
            ("one\ntwo\nthree\n", "has 3 lines for 2 classes"),
            ("one\nOne\n", "calls classes 0 and 1 both 'one'"),
            ("\ntwo\n", "leaves class 0 blank"),
            ("", "has 0 lines for 2 classes"),
        ],
    )
    def test_a_faulty_list(self, tmp_path, text, fault):
        class_folders(tmp_path, {"a": ["1.png"], "b": ["2.png"]})
        (tmp_path / "classes.txt").write_text(text)
        said = fails(class_folder("x", tmp_path), tmp_path)
        assert said.startswith(str(tmp_path / "classes.txt")) and fault in said

    def test_a_list_that_is_no_text(self, tmp_path):
        class_folders(tmp_path, {"a": ["1.png"]})
        (tmp_path / "classes.txt").write_bytes(b"caf\xe9\n")
        assert "no UTF-8 text" in fails(class_folder("x", tmp_path), tmp_path)

    def test_two_classes_of_one_name(self, tmp_path):
        class_folders(tmp_path, {"Crane": ["1.png"], "n03126707 crane": ["2.png"]})
        fault = fails(class_folder("x", tmp_path), tmp_path)
        assert f"{tmp_path} calls classes 0 and 1 both 'crane'; write names that differ" in fault


class TestParquet:
    def test_rows_stay_encoded(self, tmp_path):
        parquet(
            tmp_path / "cifar10" / "plain_text" / "test-00000-of-00001.parquet", [1, 0], ["cat", "dog"], image="img"
        )
        parquet(tmp_path / "cifar10" / "plain_text" / "train-00000-of-00001.parquet", [0], ["cat", "dog"], image="img")
        rows = list(SETS["cifar10"].read(tmp_path))
        assert [(row["id"], row["answer"]) for row in rows] == [("0", 1), ("1", 0)]
        assert [row["images"][0]["bytes"] for row in rows] == [picture(0), picture(1)]
        assert all(ITEM.encode_example(row) for row in rows)

    def test_memory_does_not_hold_the_file(self, tmp_path):
        features = Features({"image": Image(), "label": ClassLabel(names=["cat"])})
        path = tmp_path / "test.parquet"
        with pq.ParquetWriter(path, features.arrow_schema) as writer:
            for group in range(200):
                noise = random.Random(group).randbytes(10_000)
                rows = {"image": [{"bytes": noise, "path": None}] * 2, "label": [0, 0]}
                writer.write_table(pa.table(rows, schema=features.arrow_schema))
        before = pa.total_allocated_bytes()
        held = [pa.total_allocated_bytes() - before for _ in class_folder("x", tmp_path).read(tmp_path)]
        assert len(held) == 400 and max(held) < path.stat().st_size

    def test_shards_are_one_split(self, tmp_path):
        for shard, labels in enumerate(([0, 1], [1])):
            path = tmp_path / "food101" / "data" / f"validation-0000{shard}-of-00002.parquet"
            parquet(path, labels, ["apple_pie", "baby_back_ribs"], first=10 * shard)
        parquet(tmp_path / "food101" / ".cache" / "test-00000-of-00001.parquet", [0], ["hidden"])
        expected = [("0", "apple pie"), ("1", "baby back ribs"), ("2", "baby back ribs")]
        assert answers(SETS["food101"], tmp_path) == expected
        last = list(SETS["food101"].read(tmp_path))[2]
        assert last["images"][0]["bytes"] == picture(10)

    def test_a_missing_shard_is_noticed(self, tmp_path):
        parquet(tmp_path / "food101" / "validation-00000-of-00002.parquet", [0], ["apple_pie"])
        assert "holds 1 of the 2 files validation-*" in fails(SETS["food101"], tmp_path)

    def test_fine_labels(self, tmp_path):
        path = tmp_path / "cifar100" / "cifar100" / "test-00000-of-00001.parquet"
        parquet(path, [2, 0], ["apple", "aquarium_fish", "baby"], image="img", label="fine_label")
        assert answers(SETS["cifar100"], tmp_path) == [("0", "baby"), ("1", "apple")]

    def test_a_file_that_names_no_split_is_read(self, tmp_path):
        parquet(tmp_path / "oxford-pets" / "pets.parquet", [0], ["maine_coon"])
        assert answers(SETS["oxford-pets"], tmp_path) == [("0", "maine coon")]

    def test_the_first_split_is_taken(self, tmp_path):
        for split, name in (("validation", "pug"), ("test", "persian"), ("train", "beagle")):
            parquet(tmp_path / "oxford-pets" / "default" / split / "0000.parquet", [0], [name])
        assert answers(SETS["oxford-pets"], tmp_path) == [("0", "persian")]

    def test_another_split_is_not(self, tmp_path):
        parquet(tmp_path / "oxford-pets" / "train.parquet", [0], ["maine_coon"])
        assert "none of the split test or val or validation" in fails(SETS["oxford-pets"], tmp_path)

    def test_paths_in_place_of_bytes(self, tmp_path):
        image = tmp_path / "a.png"
        image.write_bytes(picture(3))
        features = Features({"image": Image(), "label": ClassLabel(names=["cat"])})
        (tmp_path / "set").mkdir()
        # So writes `Dataset.to_parquet` what was made of paths.
        Dataset.from_dict({"image": [str(image)], "label": [0]}, features).to_parquet(
            tmp_path / "set" / "test.parquet"
        )
        [row] = class_folder("x", tmp_path / "set").read(tmp_path)
        assert row["images"] == [str(image)]

    def test_numbers_of_the_hub_are_no_names(self, tmp_path):
        # nelorth/oxford-flowers has its labels in this order.
        path = parquet(tmp_path / "flowers102" / "test.parquet", [1, 2], ["1", "10", "2"])
        assert "in the order of the labels (1, 10, 2, …)" in fails(SETS["flowers102"], tmp_path)
        path.with_name("classes.txt").write_text("pink primrose\nglobe thistle\nhard-leaved pocket orchid\n")
        expected = [("0", "globe thistle"), ("1", "hard-leaved pocket orchid")]
        assert answers(SETS["flowers102"], tmp_path) == expected

    def test_indices_without_names(self, tmp_path):
        path = parquet(tmp_path / "flowers102" / "test.parquet", [1, 0], None)
        assert "does not name its classes" in fails(SETS["flowers102"], tmp_path)
        path.with_name("classes.txt").write_text("rose\nlotus\n")
        assert answers(SETS["flowers102"], tmp_path) == [("0", "lotus"), ("1", "rose")]
        path.with_name("classes.txt").write_text("rose\n")
        assert "test.parquet, row 0 of the split: label 1 is none of the 1" in fails(SETS["flowers102"], tmp_path)

    def test_an_unlabelled_split(self, tmp_path):
        parquet(tmp_path / "imagenet" / "validation.parquet", [0, -1], ["tench, Tinca tinca", "hen"])
        assert "row 1 of the split: label -1 is none of the 2" in fails(SETS["imagenet"], tmp_path)

    @pytest.mark.parametrize(("image", "label"), [("image", "class"), (None, "label")])
    def test_columns(self, tmp_path, image, label):
        if image:
            parquet(tmp_path / "test.parquet", [0], ["cat"], label=label)
        else:
            Dataset.from_dict({"text": ["x"], label: [0]}).to_parquet(tmp_path / "test.parquet")
        fault = fails(class_folder("x", tmp_path), tmp_path)
        assert f"has columns {image or 'text'}, {label};" in fault and "'label'" in fault

    @pytest.mark.parametrize("kept", [0.0, 0.5])
    def test_a_damaged_file(self, tmp_path, kept):
        path = parquet(tmp_path / "test.parquet", [0], ["cat"])
        path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
        assert fails(class_folder("x", tmp_path), tmp_path).startswith(f"{path} is damaged")

    def test_a_row_without_image(self, tmp_path):
        features = Features({"image": Image(), "label": ClassLabel(names=["cat"])})
        Dataset.from_dict({"image": [None], "label": [0]}, features).to_parquet(tmp_path / "test.parquet")
        assert "test.parquet, row 0 of the split, holds no image" in fails(class_folder("x", tmp_path), tmp_path)


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

    def test_imagenet_takes_first_names(self, tmp_path):
        names = ["tench, Tinca tinca", "crane", "Cardigan, Cardigan Welsh corgi", "cardigan", "crane2", "maillot"]
        parquet(tmp_path / "imagenet" / "val.parquet", [4], [*names, "maillot, tank suit"])
        assert names_of(SETS["imagenet"], tmp_path) == [
            "tench",
            "crane bird",
            "cardigan welsh corgi",
            "cardigan",
            "construction crane",
            "maillot",
            "tank suit",
        ]

    def test_imagenet_leaves_its_unlabelled_test_alone(self, tmp_path):
        for split, label in (("train", 0), ("validation", 1), ("test", -1)):
            parquet(tmp_path / "imagenet" / "data" / f"{split}-00000-of-00001.parquet", [label], ["tench", "hen"])
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
        counts = {"imagenet": 7, "cifar10": 18, "cifar100": 18, "stanford-cars": 8, "caltech101": 34}
        counts |= {"food101": 1, "flowers102": 1, "oxford-pets": 1}
        assert {name: len(templates) for name, templates in TEMPLATES.items()} == counts
        assert {name: len(set(templates)) for name, templates in TEMPLATES.items()} == counts
        assert all(template.count("{}") == 1 for templates in TEMPLATES.values() for template in templates)
        picked = {
            "imagenet": ["itap of a {}.", "art of the {}."],
            "cifar10": ["a photo of a {}.", "a high contrast photo of the {}.", "a photo of the big {}."],
            "caltech101": ["a plastic {}.", "the {} in a video game.", "a embroidered {}.", "a doodle of the {}."],
            "stanford-cars": ["i love my {}!"],
        }
        assert all(template in TEMPLATES[name] for name, templates in picked.items() for template in templates)

    def test_prompts_of_a_set(self, tmp_path):
        class_folders(tmp_path / "food101", {"test/peking_duck": ["a.jpg"], "test/Pho": ["b.jpg"]})
        assert SETS["food101"].classes(tmp_path) == {
            "bare names": [["pho"], ["peking duck"]],
            "templates": [["a photo of pho, a type of food."], ["a photo of peking duck, a type of food."]],
        }


class TestTheHub:
    def test_what_to_do_without_it(self, tmp_path):
        for benchmark, class_set in zip(CLASSIFICATION, CLASS_SETS, strict=True):
            fault = fails(benchmark, tmp_path)
            assert f"{class_set.hub} cannot be fetched from the Hub (OfflineModeIsEnabled)" in fault
            assert f"or run `hf download {class_set.hub} --repo-type dataset --include" in fault
            assert f"--local-dir <data_dir>/{class_set.name}`" in fault
        assert "accepted its terms" in fails(SETS["imagenet"], tmp_path)

    def test_the_split_alone_is_fetched(self, tmp_path, monkeypatch):
        asked = []

        def fetch(repo_id, repo_type, allow_patterns):
            asked.append((repo_id, repo_type, allow_patterns))
            parquet(tmp_path / "hub" / "data" / "validation-00000-of-00001.parquet", [1], ["cod", "pho"])
            return str(tmp_path / "hub")

        monkeypatch.setattr(classification, "snapshot_download", fetch)
        (tmp_path / "food101").mkdir()
        (tmp_path / "food101" / "classes.txt").write_text("fish\nsoup\n")
        assert answers(SETS["food101"], tmp_path) == [("0", "soup")]
        assert set(map(repr, asked)) == {
            repr(("ethz/food101", "dataset", ["validation-*.parquet", "*/validation-*.parquet"]))
        }

    def test_files_it_no_longer_has(self, tmp_path, monkeypatch):
        monkeypatch.setattr(classification, "snapshot_download", lambda *args, **kwargs: str(tmp_path))
        assert "holds neither class folders nor Parquet files" in fails(SETS["cifar10"], tmp_path)

    def test_local_files_come_first(self, tmp_path):
        class_folders(tmp_path / "cifar10", {"cat": ["a.png"]})
        assert answers(SETS["cifar10"], tmp_path) == [("cat/a.png", "cat")]
