"""Media files: any sound in, video out.  The one package that knows PyAV.

`audio` reads and resamples speech, `video` muxes frames and sound, `output` puts results in place.
"""
