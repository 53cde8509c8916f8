"""The Numenta Anomaly Benchmark (Lavin & Ahmad 2015): the 24 of its 58 series whose first two fifths hold no
labelled outlier, and whose rest does.

`harness.parts.data` finds and checks the files; here their content is read. An example is a series; the
training, validation and test split are its first 30 %, the next 10 % and the rest, so that row n of
each is of the same file.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping

import numpy as np

from harness.study import DataError

# Training, validation and test parts, x and y of each.
Arrays = tuple[np.ndarray, ...]

NAME, FOLDER, SHORTEST = "nab", "nab", 100
HOME = "https://raw.githubusercontent.com/numenta/NAB/master/"
LABELS = "labels/combined_windows.json"
SHARES = (0.3, 0.4)  # of a series, where its validation and its test part begin
# The sha256 of each file's content.
FILES = {
    LABELS: "1e1fbc4601321aad8d0f8b3784c8134299379f68f6c1f7777565f8ffd57ab6b1",
    "data/artificialWithAnomaly/art_daily_flatmiddle.csv": "ea5df125947e9ee2b977ac3d341f3c2a029588862af97cae4a654fc56e838702",
    "data/artificialWithAnomaly/art_daily_jumpsdown.csv": "4af31802e87dff4b4ba3ceb21714ba9d905f7888e1f53d47cc6dd4f856f9debc",
    "data/artificialWithAnomaly/art_daily_jumpsup.csv": "f79f92b93ee4f9c10e2dc552505e8880b0c618639ed5e0f9816e044b75c26456",
    "data/artificialWithAnomaly/art_daily_nojump.csv": "65c85d1834376ed5e622f01721d478609577ea0df0a067c5a5ebe5edea03b077",
    "data/artificialWithAnomaly/art_increase_spike_density.csv": "0959d8871d5c1a3fc3120fb7421e4ef113fffb434af2889085b52aebdb69360c",
    "data/artificialWithAnomaly/art_load_balancer_spikes.csv": "99f7130e54c7c3e818df8e3bdc0974cd241914bb14a10a9c3fa7c1374125d224",
    "data/realAWSCloudwatch/ec2_cpu_utilization_24ae8d.csv": "ab446fbd8b9f37507eb2fdb06315826d8daeef02e241133ce06e0ee571ba53d9",
    "data/realAWSCloudwatch/ec2_cpu_utilization_77c1ca.csv": "90ceabd570b449241ee24ff8a116a793979b7671ce4490707311bfea0e0aae1f",
    "data/realAWSCloudwatch/ec2_cpu_utilization_ac20cd.csv": "749a15c2e1a4543c21fee9cbf3338cd8a7ed5f5f8a1308b9b099b06c2c66e66b",
    "data/realAWSCloudwatch/ec2_disk_write_bytes_1ef3de.csv": "ce3d6c6a652ed7c31a6dd3727a36e128fcac6fb2381c63267ad0fbc02eccd9df",
    "data/realAWSCloudwatch/ec2_disk_write_bytes_c0d644.csv": "a0e734a66098bb81833835f0839dadafbc8ae829c51494670ee8849e46eb5b63",
    "data/realAWSCloudwatch/ec2_network_in_5abac7.csv": "c27ef93f582af63bf42e80d804764cbe64ae987620f3cfab5477d6ebb3c6157e",
    "data/realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv": "d5df979ef85928769a016cd0f935919d8c2a113926e21e1eb3a5001d688760e2",
    "data/realAdExchange/exchange-3_cpm_results.csv": "74d354a94fb1730e14b469c7c1c6e99c2ad69af53afdb85f65220bd3cf01ce4a",
    "data/realKnownCause/ambient_temperature_system_failure.csv": "230b68ccca20f59d562afd5d24ad52939c9b784386bed0054018358bf9120581",
    "data/realKnownCause/cpu_utilization_asg_misconfiguration.csv": "58ba65dc0737cfbac11b51514476d50c438d44011232144bb8d93f392df58f9f",
    "data/realKnownCause/ec2_request_latency_system_failure.csv": "98378580aa80157e057c61d59d81daddccc6c65a2c0c800e3f01f603b8215c3f",
    "data/realKnownCause/nyc_taxi.csv": "d8fa6f7f0734bf5c8be12c52a94e20a82664c397d9dec4449156bd453d32856d",
    "data/realKnownCause/rogue_agent_key_updown.csv": "9797cfef477c13306f7a33874ab4d6cf700f8f2c7e5825a2a5bc02004370909a",
    "data/realTraffic/occupancy_6005.csv": "cd357d7820d675074270fd976d4af1fc1e7854ecb764783028cbcb18d980c91d",
    "data/realTraffic/occupancy_t4013.csv": "5663a8122a300360eb51fbbd0f21706da05af1af55262926d6a226bb6d071704",
    "data/realTraffic/speed_6005.csv": "7976e7596cd1e579696c737576e96a26fe041484472ed7d0a463ce2b094d7aa7",
    "data/realTraffic/speed_t4013.csv": "fa5532d6f7db36cadc73e657fd4dfef05cb1ec44d4010243b314d3f1bbd6a7b5",
    "data/realTweets/Twitter_volume_IBM.csv": "4309bd56d28ddcbdc168e207da9717395fa2e9f74dba41fa768e0f7da8a116fa",
}  # fmt: skip
SERIES = tuple(name for name in FILES if name != LABELS)


def arrays(contents: Mapping[str, bytes], length: int) -> Arrays:
    """The splits of all series, each brought to as many points.

    A point is the mean over its share of a file's rows, and an outlier where one of them lies in a
    labelled window. Values are scaled to mean 0 and standard deviation 1 over the training part.

    Args:
        contents: The bytes of each of `FILES`.
        length: Points of a series.

    Shapes: x (24, n) float32, y (24, n) int64 of 0 and 1.

    Raises:
        DataError: a file is not what its name says.
    """
    try:
        windows = json.loads(contents[LABELS])
        found = [series(contents[name], windows[name.partition("/")[2]], length) for name in SERIES]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise DataError(
            f"NAB cannot be read ({type(error).__name__}: {str(error)[:80]}); expected its windows by "
            "file, and files of times and values"
        ) from None
    x, y = (np.stack(part) for part in zip(*found, strict=True))
    cuts = [round(share * length) for share in SHARES]
    train = x[:, : cuts[0]]
    x = (x - train.mean(1, keepdims=True)) / np.maximum(train.std(1, keepdims=True), 1e-6)
    parts = zip(np.split(x, cuts, 1), np.split(y, cuts, 1), strict=True)
    return tuple(half for pair in parts for half in (pair[0].astype(np.float32), pair[1]))


def series(content: bytes, windows: list[list[str]], length: int) -> tuple[np.ndarray, np.ndarray]:
    """One file's points (length,) float64, and whether each is an outlier, int64.

    Args:
        content: Lines of a time and a value, below a line of words.
        windows: The first and the last time of each stretch of outliers.
        length: Points.
    """
    rows = [*csv.reader(io.StringIO(content.decode()))][1:]
    times, values = [row[0] for row in rows], np.array([float(row[1]) for row in rows])
    inside = np.zeros(len(rows))
    for first, last in windows:
        inside += [first[:19] <= time <= last[:19] for time in times]
    edges = np.linspace(0, len(rows), length + 1)

    def shares(row: np.ndarray) -> np.ndarray:
        total = np.interp(edges, np.arange(len(rows) + 1), np.concatenate([[0.0], row.cumsum()]))
        share: np.ndarray = np.diff(total) / np.diff(edges)
        return share

    return shares(values), (shares(inside) > 1e-9).astype(np.int64)
