"""A leg to PCM: decoding, placing and mixing, by the native engine and, for other codecs, PyAV."""
