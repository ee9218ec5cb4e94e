"""Playlists of one recording that several nodes have made, as one."""

from web.cluster.playlist_merge import merge_playlists, merge_variants, without_end

HEAD = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n"


def listed(node: str, seconds: list[int], *, msn: int, dsn: int = 3, ended: bool = False) -> str:
    """The playlist of a node, of files of one segment of 2 s each."""
    lines = [HEAD + f"#EXT-X-MEDIA-SEQUENCE:{msn}\n#EXT-X-DISCONTINUITY-SEQUENCE:{dsn}\n"]
    if ended:
        lines = [lines[0].replace("#EXT-X-TARGET", "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGET")]
    for number, second in enumerate(seconds):
        if number:
            lines.append("#EXT-X-DISCONTINUITY\n")
        else:
            lines.append(f'#EXT-X-MAP:URI="init-{node}.mp4",BYTERANGE="9@0"\n')
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:2026-11-30T00:00:{second:02}.000Z\n")
        lines.append(f"#EXTINF:2.00000,\n#EXT-X-BYTERANGE:5@9\n../door/{name(second)}.mp4?node={node}\n")
    return "".join([*lines, "#EXT-X-ENDLIST\n" if ended else ""])


def name(second: int) -> str:
    return f"segment_20261130T0000{second:02}Z"


def uris(text: str | None) -> list[str]:
    assert text is not None
    return [f"{line[-1]}{line[-14:-12]}" for line in text.splitlines() if not line.startswith("#")]


def test_what_one_node_recorded_follows_what_another_did() -> None:
    texts = {"b": listed("b", [4, 6], msn=90, ended=False), "a": listed("a", [0, 2], msn=10, ended=True)}
    merged = merge_playlists(texts, lambda *_: True)
    assert uris(merged) == ["a00", "a02", "b04", "b06"]
    assert merged is not None
    assert "#EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n" in merged
    between = '#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="init-b.mp4",BYTERANGE="9@0"\n#EXT-X-PROGRAM-DATE-TIME:2026'
    assert f"node=a\n{between}" in merged
    assert (merged.count("#EXT-X-DISCONTINUITY\n"), merged.count("#EXT-X-MAP")) == (3, 2)
    assert "ENDLIST" not in merged, "b goes on"
    assert "TYPE:VOD" not in merged
    ended = merge_playlists(texts | {"b": listed("b", [4], msn=90, ended=True)}, lambda *_: True)
    assert ended is not None
    assert ended.endswith("#EXT-X-ENDLIST\n")
    assert ended.count("#EXT-X-PLAYLIST-TYPE:VOD") == 1
    assert without_end(ended) == merge_playlists(texts | {"b": listed("b", [4], msn=90)}, lambda *_: True)


def test_a_camera_that_comes_back_to_a_node_grows_at_the_end_alone() -> None:
    before = merge_playlists({"a": listed("a", [0], msn=10), "b": listed("b", [2], msn=90)}, lambda *_: True)
    after = merge_playlists({"a": listed("a", [0, 4], msn=10), "b": listed("b", [2], msn=90)}, lambda *_: True)
    assert before is not None
    assert after is not None
    assert uris(after) == ["a00", "b02", "a04"]
    assert after.startswith(before)
    assert '#EXT-X-MAP:URI="init-a.mp4"' in after.removeprefix(before), "a player needs it after that of b"


def test_what_retention_deleted_raises_the_numbers_of_the_first() -> None:
    """As the head of the node's own playlist says; so the numbers of what is left stay."""
    merged = merge_playlists({"a": listed("a", [2], msn=11, dsn=4), "b": listed("b", [4], msn=90)}, lambda *_: True)
    assert merged is not None
    assert "#EXT-X-MEDIA-SEQUENCE:11\n#EXT-X-DISCONTINUITY-SEQUENCE:4\n" in merged


def test_no_moment_is_listed_twice() -> None:
    """Of a file that another node's counts for, nothing is in it; the numbers are those of what is left."""
    texts = {"a": listed("a", [0, 2, 4], msn=10), "b": listed("b", [1, 3, 5], msn=90)}
    counting = {("a", name(0)), ("b", name(3)), ("b", name(5))}
    merged = merge_playlists(texts, lambda node, segment, _: (node, segment) in counting)
    assert uris(merged) == ["a00", "b03", "b05"]
    only_late = merge_playlists(texts, lambda node, segment, _: (node, segment) == ("a", name(4)))
    assert only_late is not None
    assert "#EXT-X-MEDIA-SEQUENCE:12\n#EXT-X-DISCONTINUITY-SEQUENCE:5\n" in only_late
    assert merge_playlists(texts, lambda *_: False) is None


def test_the_variant_of_several_nodes_is_that_with_most_bits_and_names_no_node() -> None:
    def variants(node: str, bps: int, *streams: str) -> str:
        lines = [
            f'#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={bps},URI="iframes.m3u8?token=t&node={node}&start=1&prefer={stream}"\n'
            f"#EXT-X-STREAM-INF:BANDWIDTH={bps},AVERAGE-BANDWIDTH=1\ndvr.m3u8?node={node}&start=1&prefer={stream}\n"
            for stream in streams
        ]
        return "#EXTM3U\n" + "".join(lines)

    assert merge_variants([variants("a", 9, "main"), listed("b", [1], msn=1), variants("b", 10, "main", "sub")]) == (
        "#EXTM3U\n"
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=10,URI="iframes.m3u8?token=t&start=1&prefer=main"\n'
        "#EXT-X-STREAM-INF:BANDWIDTH=10,AVERAGE-BANDWIDTH=1\ndvr.m3u8?start=1&prefer=main\n"
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=10,URI="iframes.m3u8?token=t&start=1&prefer=sub"\n'
        "#EXT-X-STREAM-INF:BANDWIDTH=10,AVERAGE-BANDWIDTH=1\ndvr.m3u8?start=1&prefer=sub\n"
    )
    assert merge_variants([listed("a", [1], msn=1), ""]) is None
