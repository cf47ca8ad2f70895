"""A client of a route that seals its messages: says what its arguments say, and prints the answers.

    python sealed.py ws://127.0.0.1:8080/sealed seal.key hello
"""

import base64
import json
import pathlib
import sys

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.jwk import OctKey
from websockets.sync.client import connect

REGISTRY = jwe.JWERegistry(algorithms=["dir", "A256GCM"], strict_check_header=False)


class Sealing:
    """The keys of one session, and the number of the last message each way."""

    def __init__(self, secret, told):
        self.kid = told["kid"]
        salt = base64.urlsafe_b64decode(told["salt"] + "=")
        self.keys = {to: self.derive(secret, salt, to) for to in ("gate", "client")}
        self.last = {"gate": 0, "client": 0}

    def derive(self, secret, salt, to):
        info = f"drawgate seal 1 {self.kid} to {to}".encode()
        return OctKey.import_key(HKDF(SHA256(), 32, salt, info).derive(secret))

    def header(self, to):
        return {"alg": "dir", "enc": "A256GCM", "kid": self.kid, "seq": self.last[to] + 1, "to": to}

    def seal(self, text):
        sealed = jwe.encrypt_compact(self.header("gate"), text, self.keys["gate"], registry=REGISTRY)
        self.last["gate"] += 1
        return sealed

    def open(self, sealed):
        opened = jwe.decrypt_compact(sealed, self.keys["client"], registry=REGISTRY)
        if opened.protected != self.header("client"):
            raise ValueError("this is not the gate's next message")
        self.last["client"] += 1
        return opened.plaintext.decode()


def main():
    address, key, *texts = sys.argv[1:]
    secret = pathlib.Path(key).read_bytes().removesuffix(b"\n")
    with connect(address) as socket:
        sealing = Sealing(secret, json.loads(socket.recv()))
        for text in texts:
            socket.send(sealing.seal(text))
            answer = socket.recv()
            # What the gate itself says is JSON, and not sealed.
            print("the gate:" if answer.startswith("{") else "sealed:", end=" ")
            print(answer if answer.startswith("{") else sealing.open(answer))


if __name__ == "__main__":
    main()
