"""Trackers that read folders: one for each entry, written whole whenever the entry has changed."""

import io
import shutil
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from src.base.files import making, read_regular
from src.display.text import shortened
from src.publishing.entries import Entry

DIGEST = ".segsweep"  # in each folder: the digest of the entry that it was made of
LONGEST_TAG, LONGEST_NAME = 64, 128  # characters, of W&B
Write = Callable[[Path, str, Entry], None]


class Folders:
    """Folders `<place>/<sweep>/<entry>`, each with what `write` makes of its entry."""

    def __init__(self, place: str, sweep: str, write: Write) -> None:
        self._folder, self._sweep, self._write = Path(place) / sweep, sweep, write

    def publish(self, entry: Entry) -> bool:
        """Whether `entry` was new or had changed. Raises ValueError for a folder that something else has made."""
        folder = self._folder / entry.name
        digest = folder / DIGEST
        if folder.exists():
            if not digest.exists():
                raise ValueError(f"{folder}: was not made by this command; move it, or choose another output=<folder>")
            if read_regular(digest, 1_000) == entry.digest.encode():
                return False
        with making(folder) as fresh:
            self._write(fresh, self._sweep, entry)
            (fresh / DIGEST).write_text(entry.digest)
            if folder.exists():
                shutil.rmtree(folder)
        return True


def write_events(folder: Path, sweep: str, entry: Entry) -> None:
    """A TensorBoard event file: hyperparameters, scalars, texts and the picture."""
    from PIL import Image
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))

    def add(summary: Summary, step: int = 0) -> None:
        writer.add_event(Event(summary=summary, step=step, wall_time=time.time()))

    if entry.params:
        add(hparams_pb({**entry.params, "status": entry.status}, trial_id=entry.name))
    texts = {"tags": ", ".join(entry.labels.tags), "notes": entry.labels.notes, **entry.texts}
    for title, text in texts.items():
        if text:
            add(text_pb(title, text))
    for name, epoch, value in entry.points:
        add(Summary(value=[Summary.Value(tag=name, simple_value=value)]), epoch)
    if entry.picture:
        width, height = Image.open(io.BytesIO(entry.picture)).size
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=entry.picture)
        add(Summary(value=[Summary.Value(tag="examples", image=image)]))
    writer.close()


def write_offline_run(folder: Path, sweep: str, entry: Entry) -> None:
    """A run of W&B's offline mode, for `wandb sync`: config, history, summary, tags, notes and the picture."""
    import wandb
    from PIL import Image

    quiet = {"silent": True, "console": "off", "disable_git": True, "disable_code": True, "disable_job_creation": True}
    private = {"x_disable_stats": True, "x_disable_meta": True, "x_save_requirements": False}
    run = wandb.init(
        dir=folder,
        project=shortened(sweep, LONGEST_NAME),
        id=shortened(entry.name, LONGEST_NAME),
        name=entry.name,
        config=dict(entry.params),
        tags=[shortened(tag, LONGEST_TAG) for tag in entry.labels.tags],
        notes=entry.labels.notes,
        reinit="create_new",
        settings=wandb.Settings(mode="offline", **quiet, **private),
    )
    for epoch, points in groupby(entry.points, key=lambda point: point[1]):
        run.log({name: value for name, _, value in points}, step=epoch)
    if entry.picture:
        run.log({"examples": wandb.Image(Image.open(io.BytesIO(entry.picture)), file_type="jpg")})
    run.summary.update(dict(entry.texts))
    run.finish(exit_code=int(entry.status in ("failed", "unreadable")))
    for link in (folder / "wandb").iterdir():  # to the latest run, which is the only one here
        if link.is_symlink():
            link.unlink()
