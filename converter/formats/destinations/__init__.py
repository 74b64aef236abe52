"""One file per destination of `--to`: another library's layout, or another format.

The module's name is the destination's. It has

    SUMMARY    what is written, in a few words
    SUFFIXES   the endings that TARGET may have; () if TARGET is a directory
    LIBRARY    what the written weights are proven with, as it is imported
    NEEDS      what writing needs, as it is imported

    obstacles(architecture) -> list[str]
        Why it cannot express a network, in words; [] if it can.
    export(architecture) -> converter.mapping.export.ExportPlan
        The tensors that it holds, each a step from those of our network.
    files(architecture, tensors, about) -> dict[str, bytes]
        The content, by the names of the files in a directory, or as the only value. `tensors` are
        by the export plan's names; `about` is a `converter.formats.destination.About`.
    read(path, architecture) -> dict[str, Array]
        The tensors again, from what was written.
    load(path, architecture) -> Callable[[Array], dict[str, Array]]
        The library's own network, loaded as a user would, as a function of float32 pictures
        (N, C, H, W) in our network's order of channels: logits by output ('' for the only one).
        ImportError where the library is not installed.
    usage(architecture, target) -> list[str]
        How to load it: lines of code, or of configuration.
    losses(architecture) -> list[str]
        What it does not keep, beside what the steps of its export plan say.

and, where it applies,

    equivalent(architecture) -> Architecture
        The network that the library will build, as one of ours: run even without the library.
    patch(architecture) -> dict[str, int]
        {module: stride} that has to be set in the library's network.
    PROVES_ITSELF
        True where what is written is code: it is run, and compared, with `--no-parity` too, since
        right tensors say nothing of it.
    PICTURES
        What it tells the library of pictures, in a few words, where `architecture.preprocessing`
        says what was done to them. It says so only on more evidence than a naming's default.

Every module is imported to list the destinations: libraries are imported inside the functions.
A file that starts with '_' is shared by several.
"""
