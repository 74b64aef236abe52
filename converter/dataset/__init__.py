"""A whole data set: what the original predicts for every picture of a folder, and what the
converted network does.

    pictures     folder → batches       as Keras loads them
    predict      batch → predictions    the converted network; the original in a process of its own,
                                        or its record
    results      predictions → figures  picture by picture, then over all
    state        what is done           on disk, so that a run can be continued
    spread       one run, many processes
    compare      the loop over all that
    run          the same for a converted file and an original of any kind, in one call
"""
