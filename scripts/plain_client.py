"""The whole client protocol in plain pyzmq and msgpack: speech in, JPEG frames out.

usage: plain_client.py URL SPEECH.s16le AVATAR OUT_DIRECTORY   (16 kHz, mono, 16 bit, no header)
"""

import pathlib
import secrets
import sys

import msgpack
import zmq

url, speech, avatar, out = sys.argv[1:]
pcm, directory = pathlib.Path(speech).read_bytes(), pathlib.Path(out)
socket = zmq.Context().socket(zmq.DEALER)
socket.setsockopt(zmq.RCVTIMEO, 10_000)  # a farm with a job of ours is never silent for 10 s
socket.connect(url)


def say(kind: str, *payload: bytes, **fields: object) -> None:
    socket.send_multipart([msgpack.packb({"v": 1, "kind": kind, **fields}), *payload])


job_id = f"plain {secrets.token_hex(8)}"  # a farm remembers an id for a while
say("open", job_id=job_id, avatar=avatar, credit=100, sample_format="s16le")
sent, seq, has_ended = 0, 0, False
while True:
    header, *jpegs = socket.recv_multipart()
    message = msgpack.unpackb(header)
    if message["kind"] == "audio_credit":  # so many samples more may be sent
        end = sent + 2 * message["samples"]
        for at in range(sent, min(end, len(pcm)), 64_000):
            say("audio", pcm[at : min(at + 64_000, end)], job_id=job_id, seq=seq)
            seq += 1
        if end >= len(pcm) and not has_ended:
            say("end", job_id=job_id)
            has_ended = True
        sent = end
    elif message["kind"] == "frames":
        for index, jpeg in enumerate(jpegs, message["first"]):
            (directory / f"frame_{index:06d}.jpg").write_bytes(jpeg)
        say("credit", job_id=job_id, frames=len(jpegs), next_frame=message["first"] + len(jpegs))
    elif message["kind"] in ("done", "failed", "error"):
        print(message)
        sys.exit(message["kind"] != "done")
