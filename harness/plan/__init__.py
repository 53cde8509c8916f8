"""From a study to trials, from trials to packs, and what they will take.

    draws      values of what is tuned
    keys       what makes a trial the same trial
    plan       trials, as they can be trained
    declared   what each of them trains
    packing    packs of those that train as one program
    forecast   what a run would train, and how long it would take

May import `nas` and what lies before it.
"""
