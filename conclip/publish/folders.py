"""A folder of a model, a dataset or a metric: what of it is uploaded."""

from pathlib import Path

from conclip.errors import UsageError
from conclip.publish.contents import ADAPTERS, CARD_FILE, DATASET, METRIC, MODEL, Contents, sort_files
from conclip.publish.metric_files import check_metric, name_metric
from conclip.publish.model_files import ADAPTER_CONFIG, check_model, name_model


def read_contents(folder: Path, repo_id: str, work: Path, with_images: bool = False) -> Contents:
    """
    Return what of a folder is uploaded; nothing in the folder is changed.

    Args:
        folder: a model that `from_pretrained` loads, LoRA adapters, a dataset that `conclip negate` or `conclip ccneg`
            wrote, or a metric of the `evaluate` library.
        repo_id: where it goes, e.g. "me/conclip"; the cards name it.
        work: an empty folder for changed files, to be kept until the upload is done.
        with_images: upload the images of a dataset too.

    Raises:
        UsageError: the folder holds none of these, or is damaged or incomplete.
    """
    kind = kind_of(folder)
    if kind == DATASET:
        from conclip.publish.dataset_files import dataset_contents

        contents = dataset_contents(folder, repo_id, work, with_images)
    elif with_images:
        raise UsageError(f"--with_images is for datasets, and {folder} holds a {kind}.")
    else:
        contents = sort_files(folder, kind, work)
        if kind == METRIC:
            check_metric(folder, contents, repo_id)
            name_metric(folder, contents, repo_id)
        else:
            check_model(folder, contents)
            name_model(folder, contents, repo_id)
            if CARD_FILE not in contents.files:
                contents.notes.append(f"Warning: {folder} has no {CARD_FILE}, so the repository has no card.")
    contents.remove_local_paths()
    return contents


def kind_of(folder: Path) -> str:
    """
    Return what a folder holds: "model", "adapters", "dataset" or "metric".

    Raises:
        UsageError: there is no such folder, or it holds none of these.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder.")
    if (folder / ADAPTER_CONFIG).is_file():
        return ADAPTERS
    if (folder / "config.json").is_file():
        return MODEL
    if (folder / f"{folder.resolve().name}.py").is_file():
        return METRIC
    from conclip.publish.dataset_files import is_dataset

    if is_dataset(folder):
        return DATASET
    raise UsageError(
        f"{folder} holds no model (config.json), no adapters (adapter_config.json), no dataset (a {CARD_FILE} that "
        "names data files) and no metric (a .py file of the folder's name): name a folder that holds one of these."
    )
