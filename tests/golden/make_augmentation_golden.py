"""Writes augmentation.json beside this file: what OpenCV makes of small pictures with parameters
that are drawn here once more, from Philox's definition and the words of MXNet's augmenter alone.
usage: python tests/golden/make_augmentation_golden.py   (numpy, opencv-python-headless)

A case: affine map of the whole picture (warpAffine, bilinear, constant border), crop, hue, lightness
and saturation in 8-bit HLS (added and clamped), mirror. `pixels`: hex of [h,w,3]."""

import json
import math
import pathlib

import cv2
import numpy as np

WINDOW = 24, 20
SEED = (5 << 32) + 77
AUGMENT = 3  # engine/random.h: Purpose::augment
HUE, SATURATION, LIGHTNESS, ANGLE, SHEAR, ASPECT = 36, 50, 50, 10, 0.1, 0.25


def source(height, width, channels):
    """Waves of a slope of 1 to 9 levels a pixel; each channel has its own."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    wave = x * (7 - 3 * c) + y * (2 + 3 * c) + 90 * c + x * y // 16
    return np.abs(wave % 510 - 255).astype(np.uint8)


class Philox:
    """Philox4x32-10 (Salmon et al., 2011), counter (block, epoch, sample, purpose)."""

    def __init__(self, seed, epoch, sample):
        self.key, self.counter, self.left = (seed & 0xFFFFFFFF, seed >> 32), [0, epoch, sample, AUGMENT], []

    def bits(self):
        if not self.left:
            (k0, k1), c = self.key, self.counter
            for _ in range(10):
                p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
                c = [(p1 >> 32) ^ c[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
                k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
            self.left = c
            self.counter[0] += 1
        return self.left.pop(0)

    def uniform(self):
        return (self.bits() >> 8) / 2**24

    def below(self, n):
        """Lemire's method: the high half of a product, unless its low half would be unfair."""
        while True:
            m = self.bits() * n
            if m & 0xFFFFFFFF >= 2**32 % n:
                return m >> 32

    def shift(self, limit):
        u = self.uniform()
        u = (u + 4 * self.uniform()) / 5
        return math.trunc(u * (2 * limit) - limit)


def draw(random, picture, kind, mirror, gray_jitter):
    height, width, channels = picture.shape
    d = {"crop_y": random.below(height - WINDOW[0] + 1), "crop_x": random.below(width - WINDOW[1] + 1)}
    d["mirror"] = random.below(2) & mirror
    if kind != "crop":
        d["hue"], d["saturation"] = random.shift(HUE), random.shift(SATURATION)
        d["lightness"] = random.shift(LIGHTNESS)
        if gray_jitter and channels == 1:
            d["hue"] = d["saturation"] = 0
    if kind == "crop_color_transform":
        d["shear"] = SHEAR * (2 * random.uniform() - 1)
        d["angle"] = random.below(2 * ANGLE + 1) - ANGLE
        d["aspect"] = 1 + ASPECT * (2 * random.uniform() - 1)
    return d


def augmented(picture, d, border):
    height, width, channels = picture.shape
    picture = picture if channels == 3 else np.repeat(picture, 3, axis=2)
    if "angle" in d:
        a, b = math.cos(math.radians(d["angle"])), math.sin(math.radians(d["angle"]))
        s, hs = d["shear"], 2 / (1 + d["aspect"])
        ws = d["aspect"] * hs
        m = np.array([[hs * a - s * b * ws, hs * b + s * a * ws, 0], [-b * ws, a * ws, 0]])
        m[:, 2] = (np.array([width, height]) - m[:, :2] @ [width, height]) / 2
        picture = cv2.warpAffine(picture, m, (width, height), flags=cv2.INTER_LINEAR,
                                 borderMode=cv2.BORDER_CONSTANT, borderValue=(border,) * 3)
    y, x = d["crop_y"], d["crop_x"]
    picture = picture[y:y + WINDOW[0], x:x + WINDOW[1]]
    if "hue" in d:
        hls = cv2.cvtColor(picture, cv2.COLOR_RGB2HLS).astype(int)
        hls += [d["hue"], d["lightness"], d["saturation"]]
        hls = np.clip(hls, 0, [180, 255, 255]).astype(np.uint8)
        picture = cv2.cvtColor(hls, cv2.COLOR_HLS2RGB)
    return picture[:, ::-1] if d["mirror"] else picture


cases = []
for number in range(36):
    kind = ["crop_color_transform", "crop_color", "crop_color_transform", "crop"][number % 4]
    shape = [(41, 53, 3), (48, 31, 1), (30, 30, 3), (64, 26, 3), (33, 40, 1)][number % 5]
    case = {"type": kind, "shape": shape, "mirror": int(number % 7 != 3), "gray_jitter": int(number % 3 != 1),
            "border": [127, 255, 0][number % 3], "epoch": number // 6, "sample": 1000 * (number % 6)}
    picture = source(*shape)
    case["drawn"] = draw(Philox(SEED, case["epoch"], case["sample"]), picture, kind, case["mirror"],
                         case["gray_jitter"])
    pixels = augmented(picture, case["drawn"], case["border"])
    assert pixels.shape == (*WINDOW, 3)
    cases.append(case | {"pixels": pixels.tobytes().hex()})

head = {"magic": "pneuma golden", "version": 1,
        "regenerate": "python tests/golden/make_augmentation_golden.py with numpy and opencv-python-headless",
        "opencv": cv2.__version__, "seed": SEED, "window": WINDOW}
text = json.dumps(head | {"cases": cases}, separators=(",", ":"))
pathlib.Path(__file__).with_name("augmentation.json").write_text(text.replace('},{"type', '},\n{"type') + "\n")
