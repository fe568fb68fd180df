"""What a batch is made of: folders, patterns, lists and tables; where outputs go; which part a shard takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cogvae_cli.errors import InputError, UsageError
from cogvae_cli.io.listing import LATENTS, VIDEOS, Listed, ListOptions, list_clips
from cogvae_cli.pipeline.batch_plan import Plan, Shard

TREE = ("b.mp4", "a.MKV", "notes.md", "sub/c.webm", "sub/deep/d.mov", ".hidden/e.mp4", "sub/.f.mp4", "photo.png")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of empty files; listing opens none."""
    for name in TREE:
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "tree"


def listed(*inputs: str | Path, kind: str = "encode", **options) -> list[Listed]:
    suffixes = VIDEOS if kind == "encode" else LATENTS
    return list(list_clips([str(one) for one in inputs], ListOptions(suffixes, kind, **options)))


def places(*inputs: str | Path, **options) -> list[str]:
    return [clip.relative for clip in listed(*inputs, **options)]


def test_a_folder_gives_its_videos_in_order_and_nothing_else(tree):
    assert places(tree) == ["a.MKV", "b.mp4"]


def test_recursive_looks_below_but_into_nothing_hidden(tree):
    assert places(tree, recursive=True) == ["a.MKV", "b.mp4", "sub/c.webm", "sub/deep/d.mov"]
    assert [clip.source for clip in listed(tree / "sub", recursive=True)] == [
        str(tree / "sub/c.webm"),
        str(tree / "sub/deep/d.mov"),
    ]


def test_a_link_that_leads_back_up_is_not_followed_for_ever(tree):
    (tree / "sub/loop").symlink_to(tree)
    (tree / "other").symlink_to(tree / "sub/deep")
    assert places(tree, recursive=True) == ["a.MKV", "b.mp4", "other/d.mov", "sub/c.webm", "sub/deep/d.mov"]


def test_the_folder_of_the_outputs_is_not_an_input(tree):
    assert places(tree, recursive=True, skip=tree / "sub") == ["a.MKV", "b.mp4"]


def test_a_file_that_is_named_is_taken_whatever_its_suffix(tree):
    assert places(tree / "notes.md", tree / "sub/c.webm") == ["notes.md", "c.webm"]


def test_a_pattern_mirrors_what_is_below_its_plain_part(tree):
    assert sorted(places(f"{tree}/**/*.m*v")) == ["sub/deep/d.mov"]
    assert sorted(places(f"{tree}/*/*")) == ["sub/c.webm"]


def test_a_name_with_brackets_is_a_name_if_there_is_one(tree):
    (tree / "x[1].mp4").touch()
    assert places(tree / "x[1].mp4") == ["x[1].mp4"]


def test_a_text_list_is_found_from_its_own_folder(tree):
    (tree / "list.txt").write_text(f"sub/c.webm\n\n./b.mp4\r\n{tree}/sub/deep/d.mov\n")
    assert places(tree / "list.txt") == ["sub/c.webm", "b.mp4", "sub/deep/d.mov"]
    assert listed(tree / "list.txt")[0].source == str(tree / "sub/c.webm")


def test_a_list_can_have_another_root(tree):
    (tree.parent / "list.txt").write_text("deep/d.mov\n")
    clips = listed(tree.parent / "list.txt", root=tree / "sub")
    assert [(clip.source, clip.relative) for clip in clips] == [(str(tree / "sub/deep/d.mov"), "deep/d.mov")]


def test_a_path_outside_the_root_is_refused_and_root_is_named(tree):
    (tree / "sub/list.txt").write_text("../b.mp4\n")
    with pytest.raises(UsageError, match="not below") as caught:
        listed(tree / "sub/list.txt")
    assert "--root" in caught.value.hint


def test_the_other_columns_of_a_table_are_carried_along(tree):
    (tree / "t.csv").write_text('video,caption,n\r\nb.mp4,"two\r\nlines, and a comma",3\r\n')
    (tree / "t.tsv").write_text("caption\tpath\none\tsub/c.webm\n")
    (tree / "t.jsonl").write_text('{"file_name": "a.MKV", "tags": ["x", {"y": 1}]}\n\n')
    found = [(clip.relative, dict(clip.columns)) for clip in listed(tree / "t.csv", tree / "t.tsv", tree / "t.jsonl")]
    assert found == [
        ("b.mp4", {"caption": "two\r\nlines, and a comma", "n": "3"}),
        ("sub/c.webm", {"caption": "one"}),
        ("a.MKV", {"tags": ["x", {"y": 1}]}),
    ]


def test_a_column_of_paths_that_is_not_plain_has_to_be_named(tree):
    (tree / "t.csv").write_text("path,video\nx,b.mp4\n")
    with pytest.raises(UsageError, match="path, video"):
        listed(tree / "t.csv")
    assert places(tree / "t.csv", path_column="video") == ["b.mp4"]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("t.jsonl", '{"path": "a.MKV"}\n{"path": \n', "line 2: is not JSON"),
        ("t.jsonl", "[1]\n", "line 1: is .*not an object"),
        ("t.jsonl", '{"path": 7}\n', "line 1: path is 7"),
        ("t.csv", "path,n\nb.mp4\n", "line 2: doesn't have the 2 cells"),
        ("t.csv", "path,path\nb.mp4,b.mp4\n", "same name"),
        ("t.csv", 'path\n"b.mp4\n', "no table in CSV"),
        ("t.txt", "a\0b\n", "no text"),
        ("t.txt", "\n", "holds no clip"),
    ],
)
def test_a_broken_list_is_told_with_its_line(name, text, fault, tree):
    (tree / name).write_text(text)
    with pytest.raises(InputError, match=fault):
        listed(tree / name)


@pytest.mark.parametrize("what", ["none.mp4", "none/*.mp4", "sub/empty"])
def test_an_input_that_stands_for_nothing_is_told(what, tree):
    (tree / "sub/empty").mkdir()
    with pytest.raises(InputError, match=r"no such file|holds no clip"):
        listed(tree / what)


def test_stdin_is_no_part_of_a_batch():
    with pytest.raises(UsageError, match="- is no part"):
        listed("-")


def test_the_manifest_of_encode_gives_decode_its_latents(tmp_path):
    base = {"schema_version": 1, "kind": "encode", "source": "/v/a.mp4", "relative": "s/a.mp4", "output": "s/a.npz"}
    rows = [base | {"status": "done", "columns": {"caption": "x"}}, base | {"status": "failed", "output": "s/b.npz"}]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (clip,) = listed(tmp_path / "manifest.jsonl", kind="decode")
    assert (clip.source, clip.relative, clip.columns) == (str(tmp_path / "s/a.npz"), "s/a.npz", {"caption": "x"})
    again = listed(tmp_path / "manifest.jsonl", kind="encode")
    assert [(one.source, one.relative) for one in again] == [("/v/a.mp4", "s/a.mp4")] * 2


def plan_of(*clips: tuple[str, str], out: Path = Path("/out"), shard: Shard | None = None) -> list[str]:
    with Plan([Listed(*clip) for clip in clips], out, ".npz", shard) as plan:
        outputs = [clip.output for clip in plan]
        assert len(outputs) == plan.count
    return outputs


def test_outputs_mirror_the_tree_and_only_known_suffixes_give_way():
    given = [("/v/a.mp4", "x/a.mp4"), ("/v/b.tar.mkv", "b.tar.mkv"), ("/v/shot.01", "shot.01"), ("/v/c", "c")]
    assert plan_of(*given) == ["x/a.npz", "b.tar.npz", "shot.01.npz", "c.npz"]


def test_two_inputs_of_one_output_are_both_named_before_anything_is_done():
    with pytest.raises(UsageError, match=r"/v/a\.mp4 and /w/a\.mov would both become /out/a\.npz"):
        plan_of(("/v/a.mp4", "a.mp4"), ("/v/b.mp4", "b.mp4"), ("/w/a.mov", "a.mov"))


def test_a_clip_that_is_named_twice_is_told_so():
    with pytest.raises(UsageError, match=r"/v/a\.mp4 is named twice"):
        plan_of(("/v/a.mp4", "a.mp4"), ("/v/a.mp4", "a.mp4"))


def test_a_collision_between_shards_is_found_by_each_of_them():
    for index in range(2):
        with pytest.raises(UsageError, match="would both become"):
            plan_of(("/v/a.mp4", "a.mp4"), ("/w/a.mov", "a.mov"), shard=Shard(index, 2))


def test_an_output_that_is_its_own_source_is_refused():
    with pytest.raises(UsageError, match="is an input"):
        plan_of(("/out/a.npz", "a.npz"))


def test_every_clip_is_in_exactly_one_shard():
    clips = [(f"/v/{n}.mp4", f"{n}.mp4") for n in range(300)]
    parts = [plan_of(*clips, shard=Shard(index, 3)) for index in range(3)]
    assert sorted(output for part in parts for output in part) == sorted(plan_of(*clips))
    assert all(70 <= len(part) <= 130 for part in parts)


@pytest.mark.parametrize("text", ["3/3", "1", "a/2", "-1/2", "0/0", "1/"])
def test_a_shard_that_makes_no_sense_is_refused(text):
    with pytest.raises(UsageError, match="no shard"):
        Shard.parse(text)


def test_a_name_that_is_no_utf8_stays_what_it_is(tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / name).touch()
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.mp4\n")
    assert places(tmp_path) == places(tmp_path / "list.txt") == [name]
    with Plan(listed(tmp_path), Path("/out"), ".npz") as plan:
        assert [clip.source for clip in plan] == [str(tmp_path / name)]
