"""Folders by HTTP on a free port of this machine, for a page in Chromium, without a word on the terminal.

Used by browser.py and sealed.py. It serves what is in the folders, to this machine alone, until the end of its `with`.
"""

import http.server
import threading


class Served:
    """The folders, each under what its paths begin with; the first that a path begins with has it. `with` gives the port."""

    def __init__(self, folders):
        self.folders = folders

    def __enter__(self):
        folders = self.folders

        class Files(http.server.SimpleHTTPRequestHandler):
            # A machine's own list may know nothing of them.
            extensions_map = {".html": "text/html", ".js": "text/javascript"}

            def translate_path(self, path):
                beginning = next(beginning for beginning in folders if path.startswith(beginning))
                self.directory = str(folders[beginning])
                return super().translate_path("/" + path.removeprefix(beginning))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_port

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
