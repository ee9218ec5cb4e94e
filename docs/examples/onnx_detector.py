"""A detector: finds objects with a YOLOv8 or YOLO11 model in ONNX, as Ultralytics exports it (``format="onnx"``).

It needs ``pip install onnxruntime``, and a model, which ``ONNX_MODEL`` names. ``ONNX_LABELS`` names the labels of the
model's classes, separated by commas, in their order; without it they are those of COCO that cameras are asked for.
"""

import os
from collections.abc import Sequence

import av
import numpy as np
from numpy.typing import NDArray

from gateway.detect.detector import Detection, DetectorOptions

COCO = {0: "person", 1: "bicycle", 2: "car", 3: "motorcycle", 5: "bus", 7: "truck", 15: "cat", 16: "dog"}

Rows = NDArray[np.float32]


class OnnxDetector:
    """Set a camera's ``detector`` to ``examples.onnx_detector:OnnxDetector``."""

    def __init__(self, options: DetectorOptions) -> None:
        import onnxruntime  # heavy, and only needed here

        threads = onnxruntime.SessionOptions()
        threads.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["ONNX_MODEL"], threads, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0]
        names = os.environ.get("ONNX_LABELS")
        self._labels = dict(enumerate(names.split(","))) if names else COCO
        # A sensitivity of 0.5 asks for a score of 0.5.
        self._least = 1.0 - options.sensitivity * 0.9 - 0.05
        self._zones = options.zones

    def detect(self, frame: av.VideoFrame) -> Sequence[Detection]:
        """The objects in a picture: of each label the one with the highest score."""
        height, width = self._input.shape[2:]
        pixels = frame.reformat(width, height, "rgb24").to_ndarray()
        tensor = np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis], np.float32) / 255
        [output] = self._session.run(None, {self._input.name: tensor})
        return best_of_each_label(output[0].T, width, height, self._labels, self._least, self._zones)


def best_of_each_label(
    rows: Rows,
    width: int,
    height: int,
    labels: dict[int, str],
    least: float,
    zones: Sequence[tuple[float, float, float, float]] = (),
) -> list[Detection]:
    """Rows of the model (centre, size, a score for each class; in pixels of its input) as detections."""
    found: dict[str, Detection] = {}
    for row in rows[rows[:, 4:].max(axis=1) >= least]:
        number = int(row[4:].argmax())
        label, score = labels.get(number), float(row[4 + number])
        x, y = row[0] / width, row[1] / height
        is_inside = not zones or any(
            left <= x <= left + wide and top <= y <= top + high for left, top, wide, high in zones
        )
        if label is None or not is_inside or (label in found and found[label].score >= score):
            continue
        box = [
            float(each) for each in (x - row[2] / width / 2, y - row[3] / height / 2, row[2] / width, row[3] / height)
        ]
        found[label] = Detection(label, min(1.0, score), {"box": [round(each, 3) for each in box]})
    return list(found.values())
