"""What is known of the images and of the network's features before anything is trained."""

from statistics import median, median_low

from pydantic import Field

from tasks.evaluation.probes import LINEAR, Gain, Transferability, gain
from tasks.record import Record

FAR = 1.0  # as far as normal distributions whose means are a standard deviation apart


class Facts(Record):
    """What is known before training."""

    images: dict[str, int] = Field(description="number of training images a class", min_length=1)
    parts: tuple[str, ...] = Field(description="of the network, from the image to the logits")
    channels: int = Field(description="of the images")
    channels_fit: bool = Field(True, description="whether the pretrained first layer takes them as they are")
    pretrained: Transferability | None = Field(None, description="of the pretrained network's features")
    random: Transferability | None = Field(None, description="of those of the same network with random weights")
    pixel_distance: float | None = Field(None, description="of the pixels from the pretraining's")
    divergences: dict[str, float] = Field(default={}, description="of what reaches each part from the pretraining's")

    @property
    def images_a_class(self) -> int:
        """Training images of the class in the middle."""
        return median_low(self.images.values())

    @property
    def imbalance(self) -> float:
        """Images of the largest class, for each of the smallest."""
        return max(self.images.values()) / max(1, min(self.images.values()))

    @property
    def gain(self) -> Gain | None:
        """What a linear probe gains from the pretrained weights; None where it wasn't measured."""
        if self.pretrained is None or self.random is None:
            return None
        return gain(self.pretrained.probes[LINEAR], self.random.probes[LINEAR])

    @property
    def linear_auroc(self) -> float | None:
        """AUROC of a linear probe on the pretrained features."""
        return self.pretrained.probes[LINEAR].mean_auroc if self.pretrained else None

    @property
    def distance(self) -> float:
        """From the pretraining: that of the part in the middle, or of the pixels where no part remembers anything."""
        return median(self.divergences.values()) if self.divergences else self.pixel_distance or 0.0

    @property
    def is_far(self) -> bool:
        """Whether the images are unlike the pretraining's."""
        return self.distance >= FAR

    @property
    def shifts_at_the_input(self) -> bool:
        """Whether the images are unlike the pretraining's from the first part on, and most of all there.

        Not for grey images: what their first part lacks is colour, which no training brings back.
        """
        first, *later = self.divergences.values() or [0.0]
        return self.channels > 1 and first >= FAR and first > max(later, default=0.0)
