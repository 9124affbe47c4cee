# SPDX-License-Identifier: MIT
"""The container of a release, as it is rendered, at work on this machine."""

import subprocess
import time

import chart
import laws


class Running:
    """Starts the command of the container, with its environment and settings; pod_ips: its addresses here.

    The files of the ConfigMap are in directory, the program is the one under test; all else is as rendered.
    """

    def __init__(self, directory, objects, pod_ips):
        self.directory = directory
        self.container = chart.container(objects)
        for name, text in chart.one(objects, "ConfigMap")["data"].items():
            (directory / name).write_text(self._here(text), encoding="utf-8")
        self.env = {key: value.replace(laws.POD_IPS, pod_ips).rstrip(",")
                    for key, value in laws.environment(objects).items()}
        self.log = (directory / "log").open("wb")
        command = self.container["command"] + self.container["args"]
        self.process = subprocess.Popen(self._words(command), env=self.env, stdin=subprocess.DEVNULL,
                                        stderr=self.log)

    def _here(self, text):
        return text.replace("/etc/dnproxy/", f"{self.directory}/")

    def _words(self, command):
        return [chart.PROGRAM if word == "/dnproxy" else self._here(word) for word in command]

    def probe(self, name):
        """Runs a probe once."""
        return chart.run(self._words(self.container[f"{name}Probe"]["exec"]["command"]), env=self.env)

    def passes(self, name):
        """Whether a probe passes within a while, as the kubelet tries it again and again."""
        until = time.monotonic() + chart.PATIENCE
        while (done := self.probe(name)).returncode != 0 and time.monotonic() < until:
            time.sleep(0.05)
        return done.returncode == 0

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
