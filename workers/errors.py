"""What can go wrong while computing, and whose fault it is."""


class WorkerError(Exception):
    """Root of this layer's errors."""


class CallerFault(WorkerError):
    """What the caller handed in cannot be used; the message names the file and the reason."""


class BundleError(CallerFault):
    """An avatar bundle is damaged, incomplete or of another version: build it again."""


class ModelError(CallerFault):
    """A model file cannot be loaded, or its tensors fit no known family."""


class NotFinite(ModelError):
    """The model answered NaN or infinity: a broken model or broken weights, never a pixel."""


class DeviceUnusable(ModelError):
    """The device that was asked for is not there, or onnxruntime cannot use it."""


class DeviceLost(WorkerError):
    """A GPU failed under a model: what ran there runs in another process, or not at all."""
