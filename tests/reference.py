"""An independent renderer, written from the published models' rules with other people's parts.

librosa makes the mel spectrogram, OpenCV resizes, a bare onnxruntime loop runs one frame at a
time.  It shares no code with the product, so that a mistake would have to be made twice.
Pictures are BGR here, as OpenCV and the models have them.
"""

from pathlib import Path

import cv2
import librosa
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Square = tuple[int, int, int]  # x, y, side


def mel_spectrogram(samples: F32) -> F32:
    wave = samples.astype(np.float64)
    wave = np.append(wave[:1], wave[1:] - 0.97 * wave[:-1])
    stft = librosa.stft(
        wave, n_fft=800, hop_length=200, win_length=800, center=True, pad_mode="constant"
    )
    bands = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600)
    level = 20 * np.log10(np.maximum(1e-5, bands @ np.abs(stft))) - 20
    return np.clip(8 * (level + 100) / 100 - 4, -4, 4).T.astype(np.float32)


def windows(mel: F32) -> F32:
    if len(mel) < 16:
        mel = np.vstack([mel, np.full((16 - len(mel), 80), -4, np.float32)])
    cut = []
    for i in range(int((len(mel) - 16) / 80.0 * 25.0) + 2):
        start = int(80.0 * (i / 25.0))
        end = min(start + 16, len(mel))
        cut.append(mel[end - 16 : end].T)
    return np.array(cut)[:, None]


def tensor(features: F32, frame: int) -> F32:
    rows = np.vstack([features[0], features, features[-1]])
    picked = [
        rows[r] if 0 <= r < len(rows) else np.zeros(512, np.float32)
        for r in range(frame - 8, frame + 8)
    ]
    return np.array(picked).reshape(32, 16, 16)


def frame_count(n_samples: int) -> int:
    return max(1, int(np.floor(n_samples * 25 / 16000 + 0.5)))


def walk(frame: int, n: int) -> int:
    order = [*range(n), *range(n - 2, 0, -1)]
    return order[frame % len(order)]


class Reference:
    """Renders frames of a job one by one."""

    def __init__(self, model: Path, templates: list[U8], boxes: list[Square]) -> None:
        self._encoder = ort.InferenceSession(model / "audio_encoder.onnx")
        self._unet = ort.InferenceSession(model / "unet.onnx")
        self._templates = templates
        self._boxes = boxes

    def features(self, samples: F32) -> F32:
        cut = windows(mel_spectrogram(samples))
        return np.concatenate([self._encoder.run(None, {"input": w[None]})[0] for w in cut])

    def frame(self, features: F32, index: int) -> U8:
        """Frame ``index`` as BGR pixels, before any JPEG."""
        template = walk(index, len(self._templates))
        image, (x, y, side) = self._templates[template].copy(), self._boxes[template]
        canvas = self._canvas(image, x, y, side)
        inner = canvas[4:324, 4:324].astype(np.float32) / 255
        black = inner.copy()
        black = np.ascontiguousarray(black)
        cv2.rectangle(black, (5, 5, 310, 305), (0, 0, 0), -1)
        picture = np.concatenate([inner, black], axis=2).transpose(2, 0, 1)[None]
        inputs = {"image": picture, "audio": tensor(features, index)[None]}
        prediction = self._unet.run(None, inputs)[0][0].transpose(1, 2, 0)
        canvas[4:324, 4:324] = (np.clip(prediction, 0, 1) * 255).astype(np.uint8)
        shrinks = side < 328
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        face = cv2.resize(canvas, (side, side), interpolation=how)
        height, width = image.shape[:2]
        for row in range(max(0, y), min(height, y + side)):
            left, right = max(0, x), min(width, x + side)
            image[row, left:right] = face[row - y, left - x : right - x]
        return image

    def _canvas(self, image: U8, x: int, y: int, side: int) -> U8:
        height, width = image.shape[:2]
        pad = [max(0, -y), max(0, y + side - height), max(0, -x), max(0, x + side - width)]
        wide = cv2.copyMakeBorder(image, *pad, cv2.BORDER_REPLICATE)
        cut = wide[y + pad[0] : y + pad[0] + side, x + pad[2] : x + pad[2] + side]
        return cv2.resize(cut, (328, 328), interpolation=cv2.INTER_CUBIC)
