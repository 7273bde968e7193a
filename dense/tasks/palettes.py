"""Class names and colours: Cityscapes' and COCO's, and colours for any number of classes."""
from __future__ import annotations

from colorsys import hsv_to_rgb

# Cityscapes' 19 classes of evaluation in the order of their train ids, with the data set's colours
CITYSCAPES = {
    "road": (128, 64, 128), "sidewalk": (244, 35, 232), "building": (70, 70, 70), "wall": (102, 102, 156),
    "fence": (190, 153, 153), "pole": (153, 153, 153), "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0), "vegetation": (107, 142, 35), "terrain": (152, 251, 152), "sky": (70, 130, 180),
    "person": (220, 20, 60), "rider": (255, 0, 0), "car": (0, 0, 142), "truck": (0, 0, 70), "bus": (0, 60, 100),
    "train": (0, 80, 100), "motorcycle": (0, 0, 230), "bicycle": (119, 11, 32),
}

# COCO's 80 classes of detection in the order of their ids (which have gaps)
COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush")


def distinct_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """``count`` RGB colours, the first black: PASCAL VOC's, whose bits are those of the index, spread."""
    return tuple(tuple(sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3))
                 for index in range(count))


def bright_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """``count`` RGB colours that show on photographs: neighbours differ much in hue, all differ in hue or lightness."""
    made = (hsv_to_rgb(0.618034 * i % 1, (0.85, 0.55, 1.0)[i % 3], (1.0, 0.95, 0.75)[i % 3]) for i in range(count))
    return tuple(tuple(round(255 * v) for v in colour) for colour in made)
