"""Classes get names that make prompts, or a sentence says what to do; Parquet files are read as they are written."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from class_files import SETS, answers, class_folders, fails, parquet, png
from datasets import ClassLabel, Dataset, Features, Image

from conclip.errors import UsageError
from dataset_scripts.benchmarks.class_prompts import clean_name, is_code
from dataset_scripts.benchmarks.classification import class_folder
from dataset_scripts.benchmarks.schema import item_features


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
        with pytest.raises(UsageError, match="makes no prompt"):
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
        assert "is not UTF-8 text" in fails(class_folder("x", tmp_path), tmp_path)

    def test_classes_of_one_name_are_accepted_with_a_warning(self, tmp_path):
        class_folders(tmp_path, {"Crane": ["1.png"], "n03126707 crane": ["2.png"], "dog": ["3.png"]})
        birds = class_folder("birds", tmp_path)
        with pytest.warns(UserWarning, match=r"^birds: 1 name belongs to two or more classes \(crane\)\."):
            prompts = birds.classes(tmp_path)
        assert prompts["names of the dataset, bare"] == [["crane"], ["dog"], ["crane"]]
        (tmp_path / "classes.txt").write_text("Missile\nsunglasses\nmissile\n")
        with pytest.warns(UserWarning, match=r"1 name belongs .*\(missile\)"):
            prompts = birds.classes(tmp_path)
        assert prompts["names of classes.txt, bare"] == [["missile"], ["sunglasses"], ["missile"]]


class TestParquet:
    def test_rows_stay_encoded(self, tmp_path):
        parquet(
            tmp_path / "cifar10" / "plain_text" / "test-00000-of-00001.parquet", [1, 0], ["cat", "dog"], image="img"
        )
        parquet(tmp_path / "cifar10" / "plain_text" / "train-00000-of-00001.parquet", [0], ["cat", "dog"], image="img")
        rows = list(SETS["cifar10"].read(tmp_path))
        assert [(row["id"], row["answer"]) for row in rows] == [("0", 1), ("1", 0)]
        assert [row["images"][0]["bytes"] for row in rows] == [png(0), png(1)]
        assert all(item_features().encode_example(row) for row in rows)

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
        assert last["images"][0]["bytes"] == png(10)

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
        image.write_bytes(png(3))
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
        assert "test.parquet, row 0 of the split: label 1 is not one of the 1" in fails(SETS["flowers102"], tmp_path)

    def test_an_unlabelled_split(self, tmp_path):
        parquet(tmp_path / "imagenet" / "validation.parquet", [0, -1], ["n01440764", "n01514668"])
        assert "row 1 of the split: label -1 is not one of the 2" in fails(SETS["imagenet"], tmp_path)

    @pytest.mark.parametrize(("image", "label"), [("image", "class"), (None, "label")])
    def test_columns(self, tmp_path, image, label):
        if image:
            parquet(tmp_path / "test.parquet", [0], ["cat"], label=label)
        else:
            Dataset.from_dict({"text": ["x"], label: [0]}).to_parquet(tmp_path / "test.parquet")
        fault = fails(class_folder("x", tmp_path), tmp_path)
        assert f"has columns {image or 'text'}, {label};" in fault and "'label'" in fault

    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_a_damaged_file(self, tmp_path, share):
        path = parquet(tmp_path / "test.parquet", [0], ["cat"])
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        assert fails(class_folder("x", tmp_path), tmp_path).startswith(f"{path} is damaged")

    def test_a_row_without_image(self, tmp_path):
        features = Features({"image": Image(), "label": ClassLabel(names=["cat"])})
        Dataset.from_dict({"image": [None], "label": [0]}, features).to_parquet(tmp_path / "test.parquet")
        assert "test.parquet, row 0 of the split, holds no image" in fails(class_folder("x", tmp_path), tmp_path)
