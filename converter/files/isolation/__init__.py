"""A stranger's file is parsed in a process of its own, which may hang, crash or be killed.

`reader` starts it and asks, `child` is what runs in it, `wire` is what they say to each other,
`limits` is what it is held to. The child has the rights of the user: it is kept from using up the
machine and from taking the caller down with it, and is no sandbox.
"""
