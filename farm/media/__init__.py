"""Media files: any sound in, video out.  The one package that knows PyAV.

`audio` reads and resamples speech, `spoken_text` has it made from a text, `video` muxes frames and
sound, `output` puts results in place.
"""
